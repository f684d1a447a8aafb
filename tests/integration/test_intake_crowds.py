"""Senders that are slow, silent, many or without manners, and a listener that stays well."""

from __future__ import annotations

import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count as numbers
from pathlib import Path

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.settings import Settings
from tests.instances import encoded, mr_image
from tests.integration.lies import lies
from tests.integration.load import (
    Senders,
    all_at_once,
    holdings,
    is_back_to,
    kept_right,
    listening,
    store_one,
    workers,
)
from tests.integration.raw_house import descriptors, resident_bytes
from tests.integration.raw_peer import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ECHO,
    ECHO_CONTEXT,
    MR_CONTEXT,
    P_DATA,
    RawPeer,
    associate_rq,
    message,
    p_data,
    store_rq,
)
from tests.integration.services import Service, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started

LIMIT_EXCEEDED = bytes([0, 2, 3, 2])  # transient, PS3.8 Table 9-21


@pytest.fixture
def listener(intake_settings: Settings, tmp_path: Path) -> Iterator[Service]:
    with listening(intake_settings, tmp_path / "listener.log") as service:
        yield service


def test_slow_and_silent_peers_are_ended_in_time_and_hold_up_nobody(
    intake_settings: Settings, database: Database, tmp_path: Path
):
    changes = {"negotiation_seconds": 1.0, "network_seconds": 3.0}
    with listening(intake_settings, tmp_path / "log", **changes) as listener:
        port = listener.settings.listener_port
        senders = Senders(listener, threads=1)
        lasted = all_at_once([lambda slow=slow: slow(port) for slow in SLOW.values()])
        senders.stop()
        assert len(senders.acknowledged) > 20
        told = dict(zip(SLOW, lasted, strict=True))
        assert {name for name, seconds in told.items() if seconds > BOUNDS[name]} == set(), told
        assert kept_right(listener, database, senders.acknowledged)
        assert count(database, "instance") == len(senders.acknowledged)


def until_ended(port: int, at_once: bytes, drop_by_drop: bytes) -> float:
    """Say something at once, the rest slowly; seconds until the other side hangs up."""
    began = time.monotonic()
    with RawPeer(port, patience_seconds=0.3) as peer, suppress(ConnectionError):
        peer.send(at_once)
        for number in numbers():
            if time.monotonic() - began > 20:
                break
            peer.send(drop_by_drop[number : number + 1])
            with suppress(TimeoutError):
                while peer.socket.recv(1000):
                    pass
                break
    return time.monotonic() - began


HALF = message(MR_CONTEXT, store_rq("1.2.3"), bytes(5000))[:-4000]
SLOW: dict[str, Callable[[int], float]] = {
    "silent": lambda port: until_ended(port, b"", b""),
    "slow to ask": lambda port: until_ended(port, b"", associate_rq()),
    "silent once let in": lambda port: until_ended(port, associate_rq(), b""),
    "slow PDU header": lambda port: until_ended(port, associate_rq(), p_data(bytes(90))),
    "slow data": lambda port: until_ended(port, associate_rq() + HALF, bytes(4000)),
    "silent amid data": lambda port: until_ended(port, associate_rq() + HALF, b""),
    "cut amid data": lambda port: cut_off(port, RawPeer.reset),
    "closed amid data": lambda port: cut_off(port, lambda peer: peer.socket.close()),
}
SLACK = 1.5  # for a busy machine, and for one read that began before the time was over
BOUNDS = dict.fromkeys(SLOW, 3.0 + SLACK) | dict.fromkeys(("silent", "slow to ask"), 1.0 + SLACK)


def cut_off(port: int, how: Callable[[RawPeer], None]) -> float:
    peer = RawPeer(port)
    peer.associate().send(HALF)
    how(peer)
    return 0.0


def test_of_200_associations_at_once_those_beyond_50_are_told_to_come_back(
    intake_settings: Settings, database: Database, tmp_path: Path
):
    with listening(intake_settings, tmp_path / "log", maximum_associations=50) as listener:
        port = listener.settings.listener_port
        assert store_one(port) == 0x0000
        wait_until(lambda: len(listener.events("association_closed")) == 1)
        before = holdings(listener)
        gate = threading.Barrier(200)
        answers = all_at_once([lambda: crowd_in(port, gate)] * 200)
        assert set(answers) <= {0x0000, -1}
        assert 50 <= answers.count(0x0000) < 200
        assert count(database, "instance") == answers.count(0x0000) + 1
        assert is_back_to(listener, before)
        assert store_one(port) == 0x0000
        assert listener.events("worker_died") == []


def crowd_in(port: int, gate: threading.Barrier) -> float:
    """Status of one C-STORE, or -1 when the association was refused for now."""
    image = mr_image(rows=512)
    gate.wait()
    with RawPeer(port, patience_seconds=60) as peer:
        kind, body = peer.send(associate_rq()).answer()
        if kind == ASSOCIATE_RJ:
            assert body == LIMIT_EXCEEDED
            return -1
        assert kind == ASSOCIATE_AC
        status = peer.store(str(image.SOPInstanceUID), encoded(image))
        time.sleep(0.5)  # so that they are there at one time
        peer.release()
    return status


def test_connections_that_say_nothing_take_no_place_of_a_sender(
    intake_settings: Settings, tmp_path: Path
):
    with listening(intake_settings, tmp_path / "log", maximum_associations=5) as listener:
        port = listener.settings.listener_port
        with ExitStack() as silent:
            for _ in range(20):
                silent.enter_context(RawPeer(port))
            assert store_one(port) == 0x0000


def test_a_worker_out_of_descriptors_refuses_and_recovers(listener: Service):
    port, pids = listener.settings.listener_port, workers(listener)
    assert store_one(port) == 0x0000
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + 6, 4096))
    with ExitStack() as many:
        for _ in range(30):
            many.enter_context(RawPeer(port)).send(associate_rq())
        time.sleep(0.5)
    wait_until(lambda: answers_echo(port), seconds=5)
    assert answers_echo(port)
    assert workers(listener) == pids
    assert listener.events("worker_died") == []


def answers_echo(port: int) -> bool:
    with suppress(AssertionError, OSError), RawPeer(port, patience_seconds=2) as peer:
        peer.associate().send(message(ECHO_CONTEXT, ECHO))
        return peer.status() == 0x0000
    return False


def test_the_listener_is_well_after_every_lie(listener: Service, database: Database):
    port = listener.settings.listener_port
    assert store_one(port) == 0x0000
    wait_until(lambda: len(listener.events("association_closed")) == 1)
    before = holdings(listener)
    for lie in lies():
        with RawPeer(port) as peer, suppress(ConnectionError):
            peer.send(lie.said)
            peer.socket.shutdown(socket.SHUT_WR)
            while peer.answer()[0]:
                pass
    assert is_back_to(listener, before)
    assert store_one(port) == 0x0000
    assert [line for line in listener.events() if line["level"] == "error"] == []
    said = listener.log.read_text()
    assert "Traceback" not in said


def test_what_is_no_dicom_is_logged_with_its_address(listener: Service, database: Database):
    with RawPeer(listener.settings.listener_port) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n").answer()
    line = listener.wait_for("association_refused")
    assert (line["address"], line["ended"]) == ("127.0.0.1", "protocol_violation")


def test_a_connection_that_asks_for_nothing_leaves_no_row(listener: Service, database: Database):
    port = listener.settings.listener_port
    for _ in range(3):  # load balancers look in like this, every second
        RawPeer(port).socket.close()
    assert store_one(port) == 0x0000
    wait_until(lambda: count(database, "association") > 0)
    time.sleep(1.2)  # the log is written once a second
    assert rows(database, "select calling_ae from association") == [("RAW-PEER",)]


def test_a_flood_of_requests_is_answered_while_it_goes_on(listener: Service):
    with RawPeer(listener.settings.listener_port) as peer:
        peer.associate()
        answered, stop = numbers(), threading.Event()
        heard = threading.Thread(target=hear_until, args=(peer, stop, answered))
        heard.start()
        flood, ends = message(ECHO_CONTEXT, ECHO) * 50, time.monotonic() + 2
        with suppress(TimeoutError):
            while time.monotonic() < ends:
                peer.send(flood)
        stop.set()
        heard.join()
        assert next(answered) > 100


def hear_until(peer: RawPeer, stop: threading.Event, answered: Iterator[int]) -> None:
    with suppress(TimeoutError):
        while not stop.is_set() and peer.answer()[0] == P_DATA:
            next(answered)


@pytest.mark.parametrize(
    ("associations", "objects"),
    [
        pytest.param(150, 300, id="quick"),
        pytest.param(2000, 5000, id="full", marks=pytest.mark.slow),
    ],
)
def test_the_listener_does_not_grow(listener: Service, associations: int, objects: int):
    port = listener.settings.listener_port
    come_and_go(port, 100)
    wait_until(lambda: len(listener.events("association_closed")) == 100)
    before, memory = holdings(listener), memory_of(listener)
    come_and_go(port, associations)
    with RawPeer(port) as peer:
        peer.associate()
        for _ in range(objects):
            image = mr_image()
            assert peer.store(str(image.SOPInstanceUID), encoded(image)) == 0x0000
        peer.release()
    assert is_back_to(listener, before)
    growth = [after - was for after, was in zip(memory_of(listener), memory, strict=True)]
    assert max(growth) < 12 << 20, growth


def come_and_go(port: int, times: int) -> None:
    for _ in range(times):
        with RawPeer(port) as peer:
            peer.associate().send(message(ECHO_CONTEXT, ECHO))
            assert peer.status() == 0x0000
            peer.release()


def memory_of(listener: Service) -> list[int]:
    return [resident_bytes(pid) for pid in (listener.process.pid, *workers(listener))]


def test_the_same_instances_from_many_senders_are_filed_once_and_counted(
    listener: Service, database: Database
):
    images = [mr_image() for _ in range(40)]
    sent = {str(image.SOPInstanceUID): encoded(image) for image in images}
    port = listener.settings.listener_port
    statuses = all_at_once([lambda seed=seed: send_shuffled(port, sent, seed) for seed in range(8)])
    assert statuses == [0.0] * 8
    assert count(database, "instance") == 40
    assert rows(database, "select sum(repeats) from instance") == [(8 * 40 - 40,)]
    assert kept_right(listener, database, sent)
    closed = listener.events("association_closed")
    assert sum(line["instances"] for line in closed) == 40
    assert sum(line["repeats"] for line in closed) == 8 * 40 - 40


def send_shuffled(port: int, sent: dict[str, bytes], seed: int) -> float:
    """The sum of all statuses, each of which should be 0."""
    order = list(sent)
    random.Random(seed).shuffle(order)
    with RawPeer(port, patience_seconds=30) as peer:
        peer.associate()
        total = sum(peer.store(uid, sent[uid]) for uid in order)
        peer.release()
    return total
