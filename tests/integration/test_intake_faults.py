"""The listener when things go wrong around it: kills, PostgreSQL away, full disk, odd senders."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.intake import spool
from deepbrainprint.intake.listener.worker import DATABASE_SECONDS
from deepbrainprint.intake.reconciliation import reconcile
from deepbrainprint.intake.spool import Incoming
from deepbrainprint.settings import Settings
from tests.instances import delivery, encoded, mr_image
from tests.integration.load import (
    Senders,
    files,
    holdings,
    journal,
    kept_right,
    listening,
    store_one,
    workers,
)
from tests.integration.own_postgres import OwnPostgres, running_postgres
from tests.integration.raw_peer import RawPeer
from tests.integration.services import Service, closed_to_all, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started

OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def listener(intake_settings: Settings, tmp_path: Path) -> Iterator[Service]:
    with listening(intake_settings, tmp_path / "listener.log") as service:
        yield service


# Killed processes


@pytest.mark.parametrize(
    "moments", [pytest.param(2, id="2"), pytest.param(20, id="20", marks=pytest.mark.slow)]
)
def test_a_killed_listener_has_kept_all_that_it_said_yes_to(
    listener: Service, database: Database, moments: int
):
    chance, acknowledged = random.Random(moments), dict[str, bytes]()
    for moment in range(moments):
        senders = Senders(listener)
        senders.wait_for(3)
        time.sleep(chance.uniform(0, 0.2))
        listener.kill()
        senders.stop()
        acknowledged |= senders.acknowledged
        unregistered = len(files(listener)) - count(database, "instance")
        listener.restart()
        found = listener.wait_for("reconciled", times=moment + 2)
        assert found["registered"] == unregistered
        assert (found["rows_without_file"], found["unreadable"]) == (0, 0)
    assert kept_right(listener, database, acknowledged)


@pytest.mark.parametrize(
    "moments", [pytest.param(1, id="1"), pytest.param(10, id="10", marks=pytest.mark.slow)]
)
def test_when_a_worker_is_killed_the_others_go_on_and_a_new_one_is_hired(
    listener: Service, database: Database, moments: int
):
    chance, acknowledged = random.Random(moments), dict[str, bytes]()
    for moment in range(moments):
        wait_until(lambda: all_are_ready(listener))
        senders = Senders(listener, threads=4)
        senders.wait_for(8)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(chance.choice(workers(listener)), signal.SIGKILL)
        senders.wait_for(8)
        listener.wait_for("worker_died", times=moment + 1)
        port = listener.settings.listener_port
        assert [store_one(port) for _ in range(4)] == [0x0000] * 4
        senders.stop()
        acknowledged |= senders.acknowledged
    wait_until(lambda: all_are_ready(listener))
    assert all_are_ready(listener)
    listener.stop()
    listener.restart()
    listener.wait_for("reconciled", times=2)
    assert kept_right(listener, database, acknowledged)


def all_are_ready(listener: Service) -> bool:
    """Whether both workers run, with the threads that stand by in each."""
    _, *of_workers = holdings(listener)
    return len(of_workers) == 2 and all(threads > 2 for _, threads in of_workers)


def test_when_the_keeper_is_killed_its_workers_finish_and_a_new_one_may_start(
    listener: Service, database: Database
):
    senders, orphans = Senders(listener), workers(listener)
    senders.wait_for(3)
    listener.process.kill()
    listener.process.wait()
    listener.restart()
    listener.wait_for("reconciled", times=2)
    senders.wait_for(3)  # on the associations that they have
    senders.stop()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
    assert not any(Path(f"/proc/{pid}").exists() for pid in orphans)
    assert senders.refused == []
    assert store_one(listener.settings.listener_port) == 0x0000
    assert kept_right(listener, database, senders.acknowledged)


# PostgreSQL


def test_postgresql_away_under_load_is_not_noticed_by_senders(
    listener: Service, database: Database, postgres_url: str
):
    senders = Senders(listener)
    senders.wait_for(5)
    with closed_to_all(postgres_url, database):
        senders.wait_for(20)
    senders.wait_for(5)
    senders.stop()
    assert senders.refused == []
    wait_until(lambda: count(database, "instance") == len(senders.acknowledged))
    assert kept_right(listener, database, senders.acknowledged)
    wait_until(lambda: journal(listener) == [])
    assert journal(listener) == []
    assert rows(database, "select sum(repeats) from instance") == [(0,)]


@pytest.mark.slow
def test_postgresql_stopped_for_a_minute_under_load_is_not_noticed_by_senders(
    own_postgres: OwnPostgres, tmp_path: Path
):
    with own_postgres.listener(tmp_path) as listener:
        senders = Senders(listener, rows=4096)
        senders.wait_for(10)
        own_postgres.stop()
        time.sleep(60)
        own_postgres.start()
        senders.wait_for(10)
        senders.stop()
        assert senders.refused == []
        database = Database(own_postgres.url)
        wait_until(lambda: count(database, "instance") == len(senders.acknowledged), seconds=120)
        assert kept_right(listener, database, senders.acknowledged)
        wait_until(lambda: journal(listener) == [])
        assert journal(listener) == []
        assert rows(database, "select sum(repeats) from instance") == [(0,)]
        database.close()


@pytest.mark.slow
def test_postgresql_that_hangs_is_as_postgresql_that_is_away(
    own_postgres: OwnPostgres, tmp_path: Path
):
    with own_postgres.listener(tmp_path) as listener:
        with RawPeer(listener.settings.listener_port, patience_seconds=30) as peer:
            sent: dict[str, bytes] = {}
            assert send(peer.associate(), sent) == 0x0000
            with own_postgres.hanging():
                assert seconds_to_send(peer, sent) < DATABASE_SECONDS + 2
                assert max(seconds_to_send(peer, sent) for _ in range(20)) < 1
            peer.release()
        wait_until(lambda: journal(listener) == [])
        database = Database(own_postgres.url)
        assert kept_right(listener, database, sent)
        database.close()


def seconds_to_send(peer: RawPeer, sent: dict[str, bytes]) -> float:
    began = time.monotonic()
    assert send(peer, sent) == 0x0000
    return time.monotonic() - began


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    with running_postgres() as postgres:
        yield postgres


def test_a_file_that_postgresql_refuses_does_not_hold_up_the_others(
    intake_settings: Settings, database: Database
):
    for changes in ({"sop_class_uid": "1.2\x00.3"}, {}):
        sent = delivery(mr_image(SOPClassUID=None), **changes)
        with Incoming(intake_settings, sent) as incoming:
            incoming.write(sent.data_set)
            path = spool.instance_path(sent.sop_instance_uid)
            incoming.settle(intake_settings.instances_folder / path)
    found = reconcile(intake_settings, database, before=time.time() + 1)
    assert (found.files, found.registered, found.unreadable) == (2, 1, 1)


# Disk


@pytest.mark.parametrize("minimum_free", [8 << 20, 0], ids=["before it is full", "when it is full"])
def test_a_full_disk_is_a_transient_refusal_that_ends_when_there_is_room(
    intake_settings: Settings,
    database: Database,
    tmp_path: Path,
    small_disk: Path,
    minimum_free: int,
):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    with listening(
        intake_settings, tmp_path / "log", home=small_disk, minimum_free_bytes=minimum_free
    ) as listener:
        acknowledged: dict[str, bytes] = {}
        with RawPeer(listener.settings.listener_port) as peer:
            peer.associate()
            assert fill(peer, acknowledged) == OUT_OF_RESOURCES
            assert free_bytes(small_disk) > minimum_free - (2 << 20)
            assert len(acknowledged) > (5 if minimum_free else 12)
            used = sum(file.stat().st_size for file in files(listener))
            held = (24 << 20) - free_bytes(small_disk) - (4 << 20)
            assert held - used < 1 << 20  # nothing half-written
            ballast.unlink()
            wait_until(lambda: send(peer, acknowledged) == 0x0000, seconds=5)
            assert fill(peer, acknowledged) == OUT_OF_RESOURCES
            peer.release()
        assert kept_right(listener, database, acknowledged)
        assert count(database, "quarantine") == 0
        assert listener.events("store_failed") == []


def send(peer: RawPeer, acknowledged: dict[str, bytes]) -> int:
    image = mr_image(rows=30_000)
    uid, data_set = str(image.SOPInstanceUID), encoded(image)
    status = peer.store(uid, data_set)
    if status == 0x0000:
        acknowledged[uid] = data_set
    return status


def fill(peer: RawPeer, acknowledged: dict[str, bytes]) -> int:
    """Send until something else than Success is answered, and return that."""
    return next(status for _ in range(60) if (status := send(peer, acknowledged)))


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
