"""Whether a quiet study is all there: what its images, its headers and its modality say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from deepbrainprint.database.completeness import ImagePlace, ProcedureSteps
from deepbrainprint.intake.closing.gaps import missing_numbers, missing_slices, told

_FINDINGS_TOLD = 4


@dataclass(frozen=True)
class Finding:
    """One sign that something is missing: a stable code and words, without identity."""

    code: str
    words: str


def findings(
    places: Sequence[ImagePlace],
    *,
    announced: int | None,
    steps: ProcedureSteps,
    source: Sequence[Finding] | None,
) -> list[Finding]:
    """Signs that a study is incomplete, the weightiest first.

    `announced` is Number of Study Related Instances (0020,1208). `source` is what the source says
    is missing, empty when it holds no more than we do, None when it was not asked or did not say.
    A modality or a source that knows outweighs what the images themselves look like.
    """
    found = list(_of_procedure(steps))
    if source is not None:
        found += source
    elif not _procedure_agrees(steps):
        found += [*_of_headers(places, announced), *_of_images(places)]
    return [*found, *_of_retention(places)]


def told_findings(found: Sequence[Finding]) -> str:
    """All findings in one line."""
    words = [finding.words for finding in found[:_FINDINGS_TOLD]]
    if len(found) > _FINDINGS_TOLD:
        words.append(f"{len(found) - _FINDINGS_TOLD} more signs like these")
    return "; ".join(words)


def series_name(number: int | None) -> str:
    """How a series is named to people: by its number, never by its description."""
    return "a series without a number" if number is None else f"series {number}"


def _procedure_agrees(steps: ProcedureSteps) -> bool:
    return bool(steps.ended and steps.named and not steps.in_progress and not steps.gaps)


def _of_procedure(steps: ProcedureSteps) -> Iterator[Finding]:
    for number, here, missing in steps.gaps:
        yield Finding(
            "procedure_images_missing",
            f"the modality says that {series_name(number)} has {here + missing} images, "
            f"{here} are here",
        )
    if steps.in_progress:
        yield Finding("procedure_in_progress", "the modality has not ended its procedure step")


def _of_headers(places: Sequence[ImagePlace], announced: int | None) -> Iterator[Finding]:
    if announced is not None and len(places) < announced:
        yield Finding(
            "fewer_than_announced",
            f"a header says that the study has {announced} instances, {len(places)} are here",
        )
    for series in _by_series(places):
        expected = series[0].series_instances
        if expected is not None and len(series) < expected:
            yield Finding(
                "fewer_than_announced",
                f"a header says that {series_name(series[0].series_number)} has {expected} "
                f"instances, {len(series)} are here",
            )


def _of_images(places: Sequence[ImagePlace]) -> Iterator[Finding]:
    for series in _by_series([place for place in places if place.is_image]):
        yield from _of_series(series)


def _of_series(series: Sequence[ImagePlace]) -> Iterator[Finding]:
    name = series_name(series[0].series_number)
    numbers = [place.instance_number for place in series]
    positions = [place.slice_position for place in series]
    if ranges := missing_numbers(numbers, positions):
        total = sum(map(len, ranges))
        yield Finding(
            "images_missing",
            f"{name} lacks {'image' if total == 1 else 'images'} {told(ranges)}, "
            f"{len(series)} are here",
        )
    for gap in missing_slices(numbers, positions):
        yield Finding(
            "slices_missing",
            f"{name} has a gap of {gap.step * (gap.missing + 1):.1f} mm between slices that are "
            f"{gap.step:.1f} mm apart elsewhere",
        )


def _of_retention(places: Sequence[ImagePlace]) -> Iterator[Finding]:
    deleted = sum(place.is_deleted for place in places)
    if deleted:
        yield Finding(
            "images_deleted",
            f"{deleted} of its {len(places)} instances were deleted after their time: "
            "send the whole study again",
        )


def _by_series(places: Sequence[ImagePlace]) -> Iterator[list[ImagePlace]]:
    uid = attrgetter("series_uid")
    for _, series in groupby(sorted(places, key=uid), key=uid):
        yield list(series)
