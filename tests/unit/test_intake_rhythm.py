"""Quiet times that are learned, and how far."""

from __future__ import annotations

import pytest

from deepbrainprint.database.completeness import Rhythm
from deepbrainprint.intake.closing.rhythm import ENOUGH_STUDIES, FADING, pauses_with, quiet_time
from deepbrainprint.settings import Settings


def rhythm(*pauses: float) -> Rhythm:
    """What is known of a sender after studies with these longest pauses, in order."""
    known = (0.0,) * len(pauses_with(1.0))
    for pause in pauses:
        known = tuple(
            was * FADING + new for was, new in zip(known, pauses_with(pause), strict=True)
        )
    return Rhythm(len(pauses), known)


def quiet(*pauses: float, **settings: float) -> float:
    return quiet_time(Settings(**settings), "SCANNER", rhythm(*pauses)).seconds


def test_the_default_applies_exactly_until_enough_is_known():
    assert quiet() == 60.0
    assert quiet(*[1.0] * (ENOUGH_STUDIES - 1), quiet_seconds=3.5) == 3.5
    assert quiet(*[100.0] * (ENOUGH_STUDIES - 1), quiet_seconds=3.5) == 3.5


def test_a_sender_that_pauses_is_given_twice_its_longest_usual_pause():
    assert quiet(*[30.0] * 30) == pytest.approx(60.0, rel=0.2)
    assert quiet(*[5.0] * 29, 90.0) == pytest.approx(180.0, rel=0.2)


def test_what_is_learned_keeps_to_the_bounds():
    assert quiet(*[0.05] * 50) == 20.0
    assert quiet(*[500.0] * 50) == 600.0
    assert quiet(*[0.05] * 50, quiet_seconds=2.0) == 2.0
    assert quiet(*[500.0] * 50, quiet_seconds=900.0) == 900.0
    assert quiet(*[3000.0] * 50, quiet_seconds_maximum=4000.0) == 4000.0


def test_it_never_learns_less_than_was_usual():
    for pause in (0.1, 0.7, 11.0, 29.9, 31.0, 200.0):
        assert quiet(*[pause] * 40, quiet_seconds_minimum=0.01) >= 2 * pause


def test_one_slow_study_is_remembered_for_some_time_and_then_fades():
    assert quiet(*[10.0] * 20, 100.0, *[10.0] * 20) > 150
    assert quiet(*[10.0] * 20, 100.0, *[10.0] * 120) < 30


def test_the_reason_says_where_the_time_comes_from():
    assert "3 of the 20 studies" in quiet_time(Settings(), "SCANNER", rhythm(1, 1, 1)).reason
    learned = quiet_time(Settings(), "SCANNER", rhythm(*[30.0] * 25)).reason
    assert "99 in 100 studies of SCANNER" in learned
    assert "learned from 25" in learned
    assert quiet_time(Settings(), "A", rhythm(*[0.2] * 25)).reason.endswith(
        "and not less than allowed"
    )
