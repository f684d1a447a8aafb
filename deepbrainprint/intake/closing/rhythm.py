"""How long a sender must be quiet before its study counts as sent: learned from its own pauses.

The rule. When a revision closes, the longest pause between two images of its study is one
observation about the calling AE. A pause that ended with a late image, after the study had closed,
counts too: it is the one that was underestimated. Pauses longer than the longest time anybody
would wait are a new sending, not a pause, and do not count. The observations of one AE are kept as
weights in bins of a quarter octave, from 0.1 s up; each further study leaves those before it 0.98
of their weight, so that about the last fifty speak.

Once twenty studies were seen, the quiet time is twice the pause that 99 in 100 of that weight stay
under, between DBP_QUIET_SECONDS_MINIMUM and DBP_QUIET_SECONDS_MAXIMUM. Until then it is
DBP_QUIET_SECONDS exactly; a site that sets that outside the bounds moves the bound with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepbrainprint.database.completeness import Rhythm
from deepbrainprint.settings import Settings

FADING = 0.98
ENOUGH_STUDIES = 20
_BINS = 64
_SHORTEST_SECONDS = 0.1
_BINS_PER_OCTAVE = 4
_SHARE = 0.99
_MARGIN = 2.0


@dataclass(frozen=True)
class QuietTime:
    """How long a sender must be quiet, and why so long, in words for a log or a person."""

    seconds: float
    reason: str


def quiet_time(settings: Settings, calling_ae: str, rhythm: Rhythm) -> QuietTime:
    """The quiet time that applies to studies of `calling_ae`."""
    if rhythm.studies < ENOUGH_STUDIES or not any(rhythm.pauses):
        return QuietTime(
            settings.quiet_seconds,
            f"DBP_QUIET_SECONDS, as {calling_ae} has sent {rhythm.studies} "
            f"of the {ENOUGH_STUDIES} studies to learn from",
        )
    pause = _usual_longest_pause(rhythm.pauses)
    least, most = bounds(settings)
    seconds = min(max(_MARGIN * pause, least), most)
    reason = (
        f"twice the {spoken(pause)} pause that 99 in 100 studies of {calling_ae} stay under, "
        f"learned from {rhythm.studies}"
    )
    if seconds != _MARGIN * pause:
        reason += f", and not {'less' if seconds == least else 'more'} than allowed"
    return QuietTime(seconds, reason)


def bounds(settings: Settings) -> tuple[float, float]:
    """The least and the longest quiet time in seconds that may be learned."""
    return (
        min(settings.quiet_seconds_minimum, settings.quiet_seconds),
        max(settings.quiet_seconds_maximum, settings.quiet_seconds),
    )


def pauses_with(seconds: float) -> tuple[float, ...]:
    """One study whose longest pause was so long, as weights by bin."""
    octaves = math.log2(max(seconds, _SHORTEST_SECONDS) / _SHORTEST_SECONDS)
    place = min(math.ceil(octaves * _BINS_PER_OCTAVE), _BINS - 1)
    return tuple(float(number == place) for number in range(_BINS))


def spoken(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _usual_longest_pause(pauses: tuple[float, ...]) -> float:
    """The upper edge in seconds of the bin that holds the 99th percentile."""
    wanted = _SHARE * sum(pauses)
    below, place = 0.0, 0
    for place, weight in enumerate(pauses):  # noqa: B007 — the last place counts
        below += weight
        if below >= wanted:
            break
    return float(_SHORTEST_SECONDS * 2 ** (place / _BINS_PER_OCTAVE))
