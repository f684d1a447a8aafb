"""Sorting the instances of a study into series, and choosing those to fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import structlog

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging.contrast import classify, weigh
from deepbrainprint.imaging.geometry import Geometry, measure
from deepbrainprint.imaging.headers import ImageHeader, read_all
from deepbrainprint.imaging.members import of_one_volume
from deepbrainprint.imaging.opinion import Opinion
from deepbrainprint.imaging.pixeldata import PixelState
from deepbrainprint.imaging.usability import judge
from deepbrainprint.records import Contrast, SeriesChoice

log = structlog.get_logger()

PREFERRED = (Contrast.T1W, Contrast.T1W_ENHANCED, Contrast.FLAIR, Contrast.T2W, Contrast.PD)
UNSURE = 0.4  # less confidence than this comes after everything surer
NAMED = 12  # series that a refusal lists one by one
MOST, MOST_OF_ONE = 6, 2  # series of a study, and of one contrast, that are fingerprinted

Found = list[tuple[SeriesChoice, list[Path]]]


class Quota:
    """How many series of a study may still be used, in all and of each contrast."""

    def __init__(self) -> None:
        self._used: Counter[Contrast] = Counter()

    @property
    def unused(self) -> bool:
        """Whether no series was used."""
        return not self._used

    def refusal(self, contrast: Contrast) -> str:
        """Why no further series of this contrast is used; empty when one may be."""
        if self._used.total() >= MOST:
            return f"not needed: {MOST} better series are used"
        if self._used[contrast] >= MOST_OF_ONE:
            return f"not needed: {MOST_OF_ONE} better {contrast} series are used"
        return ""

    def take(self, contrast: Contrast) -> None:
        """Count a series that is used."""
        self._used[contrast] += 1


@dataclass(frozen=True)
class Series:
    """One series on its way to a choice."""

    members: tuple[ImageHeader, ...]  # what is converted
    count: int  # instances, converted or not
    geometry: Geometry
    opinion: Opinion

    @property
    def first(self) -> ImageHeader:
        """The member of the lowest instance number."""
        return self.members[0]


def sort(files: Sequence[Path]) -> Found:
    """Each series among `files` with its members, the most useful first.

    The order of `files` does not matter. What is no DICOM or belongs to no series is left out
    and counted in the log. A member list holds what is to be converted: of several echoes one,
    of magnitude and phase the magnitude.
    """
    headers = read_all(files)
    if skipped := len(files) - len(headers):
        log.info("files without a series or sent twice left out", count=skipped)
    by_series = sorted(headers, key=lambda header: header.series_uid)
    groups = groupby(by_series, key=lambda header: header.series_uid)
    found = sorted((_series(list(members)) for _, members in groups), key=_usefulness)
    return [(_choice(one), [h.path for h in one.members]) for one in _without_repeats(found)]


def usable(found: Found) -> Found:
    """The series of what `sort` found that can be fingerprinted, the most useful first.

    Raises NotApplicable with code `no_brain_series` when there is none, with a reason for each.
    """
    if fit := [(choice, members) for choice, members in found if choice.usable]:
        return fit
    raise NotApplicable(
        f"no series shows a whole head in a usable contrast ({_reasons(found)}): "
        "send a structural brain MRI",
        code="no_brain_series",
    )


def choose(found: Found) -> tuple[SeriesChoice, list[Path]]:
    """The first of `usable`."""
    return usable(found)[0]


def without_twins(found: Found, pixels: Mapping[str, Hashable]) -> Found:
    """Of series with the same pixels only the most useful stays usable, the others say why.

    `pixels` maps a series UID to what only series with its pixels share.
    """
    first: dict[Hashable, int] = {}
    kept, twins = [], []
    for choice, members in found:
        key = pixels.get(choice.series_uid)
        if choice.usable and key is not None and key in first:
            reason = f"same pixels as series {first[key]}; {choice.reason}"
            twins.append((replace(choice, usable=False, reason=reason), members))
            continue
        if choice.usable and key is not None:
            first[key] = choice.series_number
        kept.append((choice, members))
    return [*kept, *twins]


def choose_files(files: Sequence[Path]) -> tuple[SeriesChoice, list[Path]]:
    """`choose` of `sort`."""
    return choose(sort(files))


def _series(headers: Sequence[ImageHeader]) -> Series:
    members = of_one_volume(headers)
    geometry = measure(members)
    echoes = {h.pulse.echo_ms for h in headers if h.pulse.echo_ms is not None}
    evidence = weigh(members, geometry, echoes=max(1, len(echoes)))
    return Series(tuple(members), len(headers), geometry, judge(classify(evidence), evidence))


def _usefulness(one: Series) -> tuple[object, ...]:
    """Sort key: usable, whole, sure; then contrast; then 3D, fine, sure, normalised; then number.

    Normalised: the shading of the receive coils is taken out, which helps stripping.
    """
    opinion = one.opinion
    return (
        not opinion.usable,
        _is_broken(one),
        opinion.confidence < UNSURE,
        PREFERRED.index(opinion.contrast) if opinion.contrast in PREFERRED else len(PREFERRED),
        not one.first.pulse.volumetric,
        round(one.geometry.voxel_ml, 4),
        -opinion.confidence,
        not one.first.normalised,
        one.first.series_number,
        one.first.series_uid,
    )


def _is_broken(one: Series) -> bool:
    """Conversion will refuse it, so anything whole comes first."""
    return bool(one.geometry.gaps) or any(h.pixels is not PixelState.WHOLE for h in one.members)


def _without_repeats(found: Iterable[Series]) -> list[Series]:
    """A second reconstruction of one acquisition becomes unusable and goes to the end."""
    first: dict[tuple[object, ...], int] = {}
    kept: list[Series] = []
    repeats: list[Series] = []
    for one in found:
        key = _acquisition(one)
        if key is None or key not in first or not one.opinion.usable:
            kept.append(one)
        else:
            repeats.append(_as_repeat(one, of=first[key]))
        if key is not None and one.opinion.usable:
            first.setdefault(key, one.first.series_number)
    usable = [one for one in kept if one.opinion.usable]
    return [*usable, *repeats, *(one for one in kept if not one.opinion.usable)]


def _as_repeat(one: Series, *, of: int) -> Series:
    reason = f"same acquisition as series {of}; {one.opinion.reason}"
    return replace(one, opinion=replace(one.opinion, usable=False, reason=reason))


def _acquisition(one: Series) -> tuple[object, ...] | None:
    """What two reconstructions of one acquisition share; None when the header does not say."""
    moments = [header.acquisition for header in one.members if header.acquisition]
    if not moments or not one.geometry.known:
        return None
    geometry, pulse = one.geometry, one.first.pulse
    timings = pulse.echo_ms, pulse.repetition_ms, pulse.inversion_ms, pulse.flip_deg
    place = geometry.slices, geometry.corner, geometry.direction, geometry.spacing_mm
    return min(moments), one.first.frame_of_reference, one.first.matrix, timings, place


def _choice(one: Series) -> SeriesChoice:
    return SeriesChoice(
        series_uid=one.first.series_uid,
        series_number=one.first.series_number,
        contrast=one.opinion.contrast,
        usable=one.opinion.usable,
        confidence=one.opinion.confidence,
        reason=one.opinion.reason,
        instance_count=one.count,
    )


def _reasons(found: Found) -> str:
    if not found:
        return "no object belongs to a series"
    listed = [f"series {choice.series_number}: {choice.reason}" for choice, _ in found[:NAMED]]
    more = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return "; ".join([*listed, *more])
