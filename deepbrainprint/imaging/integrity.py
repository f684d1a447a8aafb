"""Whether a series can become one volume; each refusal names the series and the instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging.geometry import Frame, Gap, measure_stack
from deepbrainprint.imaging.headers import ImageHeader
from deepbrainprint.imaging.pixeldata import PixelState

LISTED = 8  # runs of instance numbers that a message names
FEWEST = 8  # slices of a volume that may have others beside it in the series
WHOLE_STEPS = 0.2  # a gap this near to whole steps is where slices are missing


def guard_pixels(headers: Sequence[ImageHeader]) -> None:
    """Raise BadStudy `no_pixels`, `truncated` or `not_a_volume` (colour)."""
    if not headers or all(header.pixels is PixelState.ABSENT for header in headers):
        raise BadStudy("the series holds no pixels: send its images", code="no_pixels")
    of_series = f"series {headers[0].series_number}"
    if cut := [header for header in headers if header.pixels is PixelState.TRUNCATED]:
        raise BadStudy(
            f"{of_series}: pixels of {instances(cut)} end too early: send the series again",
            code="truncated",
        )
    if absent := [header for header in headers if header.pixels is PixelState.ABSENT]:
        raise BadStudy(
            f"{of_series}: {instances(absent)} hold no pixels: send the series again",
            code="no_pixels",
        )
    if colour := [header for header in headers if header.colour]:
        raise BadStudy(
            f"{of_series}: {instances(colour)} are in colour: send the images as acquired",
            code="not_a_volume",
        )


def guard_stack(stacks: Sequence[Sequence[Frame]], volume: Sequence[Frame]) -> None:
    """Raise BadStudy unless `volume`, the slices chosen of the first of `stacks`, is whole.

    Codes: `missing_slices`, `uneven_slices`, `mixed_orientations` or `not_a_volume`.
    """
    of_series = f"series {volume[0].header.series_number}"
    strays = [frame for stack in stacks[1:] for frame in stack]
    gaps = measure_stack(volume).gaps
    if strays and (gaps or len(volume) < FEWEST):
        raise BadStudy(
            f"{of_series}: not in line with {_called(volume)}: {_called(strays)}: "
            "send slices of one orientation and size as a series",
            code="mixed_orientations",
        )
    if gaps:
        raise _uneven(of_series, volume, gaps)
    if len(volume) == 1 and len(stacks[0]) > 1:
        raise BadStudy(
            f"{of_series}: {_called(stacks[0])} all lie in one place: send one slice per place",
            code="not_a_volume",
        )


def instances(headers: Sequence[ImageHeader]) -> str:
    """`instance 4` or `instances 4–6, 9`."""
    return _named("instance", (header.instance_number for header in headers))


def _called(frames: Sequence[Frame]) -> str:
    return _named(_kind(frames), (frame.number for frame in frames))


def _kind(frames: Sequence[Frame]) -> str:
    return (
        "frame" if len({frame.header.path for frame in frames}) == 1 < len(frames) else "instance"
    )


def _named(kind: str, numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    runs: list[list[int]] = []
    for number in ordered:
        if not runs or number != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(number)
    listed = ", ".join(_run(run) for run in runs[:LISTED])
    rest = sum(map(len, runs[LISTED:]))
    more = f" and {rest} more" if rest else ""
    return f"{kind} {listed}" if len(ordered) == 1 else f"{kind}s {listed}{more}"


def _run(numbers: Sequence[int]) -> str:
    first, last = str(numbers[0]), str(numbers[-1])
    return first if first == last else f"{first}–{last}"


def _uneven(of_series: str, volume: Sequence[Frame], gaps: Sequence[Gap]) -> BadStudy:
    gap, more = gaps[0], len(gaps) - 1
    where = f"between {_kind(volume)}s {gap.before} and {gap.after}"
    also = f" and in {more} more places" if more else ""
    steps = round(gap.factor)
    if steps >= 2 and abs(gap.factor - steps) <= WHOLE_STEPS:
        return BadStudy(
            f"{of_series}: slices are missing {where}{also}: send the series again",
            code="missing_slices",
        )
    return BadStudy(
        f"{of_series}: slices lie {gap.factor:.2f} times as far apart as the others {where}{also}: "
        "send a series of evenly spaced slices",
        code="uneven_slices",
    )
