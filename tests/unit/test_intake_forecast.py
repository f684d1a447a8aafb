"""Days until a disk is full."""

from __future__ import annotations

import pytest

from deepbrainprint.intake.disk import DiskState
from deepbrainprint.intake.forecast import Forecast, days_until_full

GB = 10**9


def test_without_retention_it_is_what_is_free_by_what_comes():
    assert days_until_full(560 * GB, received=10 * GB, made=4 * GB) == pytest.approx(40.0)


def test_a_disk_without_room_is_full_now():
    assert days_until_full(-1, received=0, made=0) == 0.0


def test_nothing_that_comes_never_fills_it():
    assert days_until_full(GB, received=0, made=0) is None


def test_retention_holds_a_disk_open_that_takes_all_of_its_days():
    arguments = {"received": 10.0 * GB, "made": 0.0, "retention_days": 30}
    assert days_until_full(290 * GB, **arguments) == pytest.approx(29.0)
    assert days_until_full(301 * GB, **arguments) is None


def test_what_is_old_already_makes_room():
    kept = dict.fromkeys(range(31), 10 * GB)  # one day more than retention keeps
    assert days_until_full(1 * GB, received=10 * GB, made=0, kept=kept, retention_days=30) is None


def test_what_the_pipeline_makes_stays():
    lasting = days_until_full(100 * GB, received=GB, made=GB, kept={}, retention_days=10)
    assert lasting == pytest.approx(10 + 80, abs=1)


@pytest.mark.parametrize(
    ("forecast", "words"),
    [
        (Forecast(812 * GB, 10 * GB, 4 * GB, 58.0), "812 GB free, full in about 58 days at 14 GB"),
        (Forecast(8 * GB, 5 * GB, 0, 1.6), "8.0 GB free, full in about 38 hours at 5.0 GB a day"),
        (Forecast(900 * GB, 2e7, 0, None), "not full within ten years at 20 MB a day"),
        (Forecast(900 * GB, 0, 0, None), "nothing has come in the last 14 days"),
        (
            Forecast(8 * GB, 5 * GB, 0, 1.6, DiskState.LOW),
            "low: 8.0 GB free, full in about 38 hours at 5.0 GB a day; free space, or let DBP_",
        ),
        (Forecast(0, 1, 0, 0.0, DiskState.FULL), "full: instances are refused"),
        (Forecast(-5, 1, 0, 0.0), "full: instances are refused until space is free"),
    ],
)
def test_it_is_said_in_words(forecast, words):
    assert words in str(forecast)
