"""Images that a series lacks, seen from the numbers and the slice positions of those that came.

Only what lies between images can be missed: nobody knows where a series should have begun or
ended. Both the instance numbers and the slice positions are marks on a ruler, and a gap counts
only where the ruler is even: at least half of the steps are the usual one, every other step is a
whole multiple of it, and no more is missing than is there. Everything else says nothing: repeated
or absent numbers, numbers in blocks of a hundred, slices at uneven distances, two stacks in one
series, several images at one place. Where each image has a place of its own and the places show no
gap, a gap in the numbers is no loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_FEWEST_MARKS = 3
_TOLERANCE = 0.2  # of the usual step
_SAME_PLACE_MM = 0.01
_BLOCK = 100
_RANGES_TOLD = 5


@dataclass(frozen=True)
class Gap:
    """Marks that are missing behind `after`, where the usual step is `step`."""

    after: float
    step: float
    missing: int


def missing_numbers(
    numbers: Sequence[int | None], positions: Sequence[float | None]
) -> list[range]:
    """Instance numbers that a series lacks, from those of its images and their positions in mm."""
    gaps = _number_gaps(numbers)
    if not gaps or slice_gaps(positions) == []:
        return []
    return [_numbers_of(gap) for gap in gaps]


def missing_slices(numbers: Sequence[int | None], positions: Sequence[float | None]) -> list[Gap]:
    """Slices that a series lacks whose numbers say nothing."""
    return [] if _number_gaps(numbers) is not None else slice_gaps(positions) or []


def slice_gaps(positions: Sequence[float | None]) -> list[Gap] | None:
    """Gaps between slices in mm; None where the positions are no single even stack."""
    known = sorted(position for position in positions if position is not None)
    if len(known) < len(positions) or any(b - a < _SAME_PLACE_MM for a, b in pairwise(known)):
        return None
    return _gaps(known)


def told(ranges: Sequence[range]) -> str:
    """Numbers for people: `3, 7 and 10–12`, the first few of them."""
    words = [
        str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
        for numbers in ranges[:_RANGES_TOLD]
    ]
    if len(ranges) > _RANGES_TOLD:
        words.append(f"{sum(map(len, ranges[_RANGES_TOLD:]))} more")
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _number_gaps(numbers: Sequence[int | None]) -> list[Gap] | None:
    """Gaps between instance numbers; None where the numbers say nothing."""
    counts = Counter(numbers)
    if None in counts or len(set(counts.values())) != 1:
        return None
    marks = sorted(number for number in counts if number is not None)
    gaps = _gaps(marks)
    return None if gaps and _is_in_blocks(marks, gaps) else gaps


def _gaps(marks: Sequence[float]) -> list[Gap] | None:
    if len(marks) < _FEWEST_MARKS:
        return None
    steps = [b - a for a, b in pairwise(marks)]
    usual = sorted(steps)[(len(steps) - 1) // 2]
    if not all(math.isfinite(step) and _is_whole(step / usual) for step in steps):
        return None
    gaps = [
        Gap(mark, usual, round(step / usual) - 1)
        for mark, step in zip(marks, steps, strict=False)
        if round(step / usual) > 1
    ]
    is_even = len(gaps) * 2 <= len(steps) and sum(gap.missing for gap in gaps) <= len(marks)
    return gaps if is_even else None


def _is_whole(times: float) -> bool:
    return abs(times - round(times)) <= _TOLERANCE


def _is_in_blocks(marks: Sequence[float], gaps: Sequence[Gap]) -> bool:
    """Whether the numbers count 1, 2, 3 … 101, 102, 103 …: one block per phase or echo."""
    starts = [marks[0], *_starts(marks, gaps)]
    lengths = {sum(a <= mark < b for mark in marks) for a, b in pairwise([*starts, float("inf")])}
    return len(lengths) == 1 and all((b - a) % _BLOCK == 0 for a, b in pairwise(starts))


def _starts(marks: Sequence[float], gaps: Sequence[Gap]) -> Iterator[float]:
    ends = {gap.after for gap in gaps}
    yield from (b for a, b in pairwise(marks) if a in ends)


def _numbers_of(gap: Gap) -> range:
    step = round(gap.step)
    first = round(gap.after) + step
    return range(first, first + gap.missing * step, step)
