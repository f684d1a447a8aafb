"""What the listener says of itself: how much waits, and how the disk is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from deepbrainprint.database.connection import Database
from deepbrainprint.database.quarantine import HeldState, decide_held_object, held_objects
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake import spool
from deepbrainprint.intake.listener import registrar as module
from deepbrainprint.intake.listener.health import Health
from deepbrainprint.intake.listener.registrar import Registrar
from deepbrainprint.settings import Settings
from tests.instances import delivery, mr_image, receive
from tests.integration.services import wait_until

MB = 1 << 20


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def gauges(settings: Settings, database: Database, folder: Path) -> dict[str, float]:
    return Health(settings, database, lambda: "", str(folder)).gauges()


def test_objects_that_a_person_let_go_are_not_counted_as_waiting(
    intake_settings: Settings, database: Database, tmp_path: Path
):
    for missing in ("StudyInstanceUID", "SeriesInstanceUID"):
        with pytest.raises(BadStudy):
            receive(intake_settings, database, delivery(mr_image(**{missing: None})))
    assert gauges(intake_settings, database, tmp_path)["dbp_quarantine_objects"] == 2
    with database.transaction() as connection:
        number = held_objects(connection)[0].quarantine_id
        decide_held_object(
            connection, number, HeldState.DISCARDED, decided_by="tester", note="a phantom"
        )
    assert gauges(intake_settings, database, tmp_path)["dbp_quarantine_objects"] == 1


@pytest.mark.parametrize(
    ("marks", "is_low_and_refusing"),
    [
        ({"low_free_bytes": 0}, (False, False)),
        ({"low_free_bytes": 1 << 60}, (True, False)),
        ({"low_free_bytes": 0, "minimum_free_bytes": 1 << 60}, (True, True)),
    ],
    ids=["room", "low", "full"],
)
def test_metrics_warn_before_instances_are_refused(
    intake_settings: Settings,
    database: Database,
    tmp_path: Path,
    marks: dict[str, int],
    is_low_and_refusing: tuple[bool, bool],
):
    told = gauges(intake_settings.model_copy(update=marks), database, tmp_path)
    assert (told["dbp_disk_low"], told["dbp_disk_refusing"]) == is_low_and_refusing


@pytest.fixture
def small_home(intake_settings: Settings, small_disk: Path) -> Settings:
    """A home of 24 MB that warns below 16 and refuses below 8."""
    marks = {"low_free_bytes": 16 * MB, "minimum_free_bytes": 8 * MB}
    settings = intake_settings.model_copy(update={"home": small_disk, **marks})
    spool.prepare(settings)
    return settings


def test_the_log_says_once_when_the_disk_becomes_low_and_full_and_has_room_again(
    small_home: Settings, database: Database, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_ROUND_SECONDS", 0.02)
    ballast, stop = small_disk / "ballast", threading.Event()
    registrar = Registrar(small_home, database, time.time(), stop)
    with capture_logs() as logs:
        registrar.start()
        wait_until(lambda: bool(logs))
        for used, event in ((10 * MB, "disk_low"), (18 * MB, "disk_full"), (0, "disk_ok")):
            ballast.write_bytes(bytes(used))
            wait_until(lambda event=event: logs[-1]["event"] == event, seconds=5)
            time.sleep(0.1)  # some rounds more
        stop.set()
        registrar.join()
    told = [line for line in logs if line["event"].startswith("disk_")]
    assert [line["event"] for line in told] == ["disk_low", "disk_full", "disk_ok"]
    assert [line["log_level"] for line in told] == ["warning", "warning", "info"]
    low, full, again = (line["free_bytes"] for line in told)
    assert full < 8 * MB < low < 16 * MB < again
    assert "DBP_LOW_FREE_BYTES" in told[0]["reason"]
    assert "DBP_MINIMUM_FREE_BYTES" in told[1]["reason"]
