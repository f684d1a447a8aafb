"""An inspection told in steps and sentences: what every form of the report has in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.imaging.views import tilt
from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import AffineArray, SeriesChoice, Volume
from deepbrainprint.workflow.quality.advice import HEADLINES, flag_words, next_step
from deepbrainprint.workflow.quality.figures import Figure, figures_of
from deepbrainprint.workflow.quality.inspection import (
    BEST_FIRST,
    InspectedScan,
    Inspection,
)

PLANES = ("sagittal", "coronal", "axial")
THICKER = 1.3  # times the other edges: then it was acquired in slices


class Outcome(StrEnum):
    """How a step went."""

    DONE = "done"
    DOUBTFUL = "doubtful"
    REFUSED = "refused"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Step:
    """One step of the way."""

    name: str
    outcome: Outcome
    words: tuple[str, ...] = ()
    seconds: float | None = None
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class ScanStory:
    """What became of one scan."""

    inspected: InspectedScan
    title: str
    steps: tuple[Step, ...]  # conversion, brain mask, alignment
    reasons: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """What became of one input."""

    inspection: Inspection
    headline: str
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    choice: Step | None  # of series; None for a NIfTI file
    scans: tuple[ScanStory, ...]


def told(inspection: Inspection) -> Story:
    """Tell an inspection: its verdict and reasons are those of its best scan."""
    scans = tuple(_scan_story(one) for one in inspection.scans)
    best = min(scans, key=lambda one: BEST_FIRST.index(one.inspected.verdict), default=None)
    refusal = inspection.refusal
    if best is not None:
        reasons, advice = best.reasons, best.advice
    else:
        reasons = (refusal.words,) if refusal else ()
        advice = (next_step(refusal.code),) if refusal else ()
    return Story(
        inspection, HEADLINES[inspection.verdict], reasons, advice, _choice(inspection), scans
    )


def code_of(inspection: Inspection) -> str:
    """Return the stable code of the refusal of the input, or of its best scan; else nothing."""
    if inspection.verdict is not Verdict.FAIL:
        return ""
    if inspection.refusal is not None:
        return inspection.refusal.code
    return next((refusal_code(one) for one in inspection.scans), "")


def refusal_code(one: InspectedScan) -> str:
    """Return the stable code of a scan's refusal; empty when it was not refused."""
    if one.refusal is not None:
        return one.refusal.code
    return one.examination.code if one.examination is not None else ""


def orientation(affine: AffineArray) -> str:
    """Say in which plane a scan was acquired, and how far it is tilted."""
    edges = spacing(affine)
    thickest = int(edges.argmax())
    others = [edge for axis, edge in enumerate(edges) if axis != thickest]
    plane = f"{PLANES[thickest]} slices" if edges[thickest] > THICKER * max(others) else "3D"
    return f"{plane}, tilted {tilt(affine):.0f}°"


def _choice(inspection: Inspection) -> Step | None:
    if not inspection.series and not (inspection.refusal and not inspection.scans):
        return None
    if inspection.refusal is not None:
        words = () if inspection.series else (inspection.refusal.words,)
        return Step("Series", Outcome.REFUSED, words, inspection.seconds)
    used = sum(choice.usable for choice in inspection.series)
    words = (f"{used} of {len(inspection.series)} series can be used.",)
    return Step("Series", Outcome.DONE, words, inspection.seconds)


def _scan_story(one: InspectedScan) -> ScanStory:
    steps = (_conversion(one), _mask(one.examination), _alignment(one.examination))
    title = "Scan" if one.series is None else series_title(one.series)
    examination = one.examination
    if one.refusal is not None:
        reasons: tuple[str, ...] = (one.refusal.words,)
    elif examination is None or examination.verdict is Verdict.FAIL:
        reasons = examination.reasons if examination else ()
    else:
        reasons = flag_words(examination.reasons)
    return ScanStory(one, title, steps, reasons, _advice(one))


def series_title(choice: SeriesChoice) -> str:
    """Name a series by what anybody may know of it."""
    return f"Series {choice.series_number}, {choice.contrast.value}"


def series_words(choice: SeriesChoice) -> str:
    """Say in one line what a series was taken for."""
    usable = "usable" if choice.usable else "not usable"
    counted = "1 instance" if choice.instance_count == 1 else f"{choice.instance_count} instances"
    return (
        f"series {choice.series_number}: {choice.contrast.value}, {usable}, "
        f"confidence {choice.confidence:.2f}, {counted}: {choice.reason}"
    )


def _advice(one: InspectedScan) -> tuple[str, ...]:
    if one.verdict is Verdict.FAIL:
        return (next_step(refusal_code(one)),)
    doubted = [figure for figure in _figures(one.examination) if not figure.good]
    return tuple(figure.advice for figure in doubted) or ("Nothing has to be done.",)


def _conversion(one: InspectedScan) -> Step:
    name = "Reading" if one.series is None else "Conversion"
    if one.scan is None:
        words = (one.refusal.words,) if one.refusal else ()
        return Step(name, Outcome.REFUSED, words, one.seconds)
    return Step(name, Outcome.DONE, (_geometry(one.files, one.scan),), one.seconds)


def _geometry(files: int, scan: Volume) -> str:
    voxels = "×".join(map(str, scan.data.shape))
    edges = "×".join(f"{edge:.2f}" for edge in spacing(scan.affine))
    counted = "1 file" if files == 1 else f"{files} files"
    return f"{counted}: {voxels} voxels of {edges} mm, {orientation(scan.affine)}."


def _mask(examination: Examination | None) -> Step:
    if examination is None:
        return Step("Brain mask", Outcome.NOT_REACHED)
    seconds = examination.seconds.get("strip")
    if examination.mask is None:
        return Step("Brain mask", Outcome.REFUSED, examination.reasons, seconds)
    found = [figure for figure in _figures(examination) if figure.name == "mask_ml"]
    words = tuple(f"{figure.shown} of brain; {figure.limits} is plausible." for figure in found)
    return Step("Brain mask", Outcome.DONE, words, seconds)


def _alignment(examination: Examination | None) -> Step:
    if examination is None or examination.alignment is None:
        return Step("Alignment", Outcome.NOT_REACHED)
    times = [seconds for step, seconds in examination.seconds.items() if step != "strip"]
    figures, reasons, outcome = _figures(examination), examination.reasons, Outcome.REFUSED
    if examination.verdict is not Verdict.FAIL:
        doubtful = examination.verdict is Verdict.FLAG
        outcome = Outcome.DOUBTFUL if doubtful else Outcome.DONE
        reasons = tuple(f"{words[0].upper()}{words[1:]}." for words in flag_words(reasons))
    return Step("Alignment", outcome, reasons, sum(times), figures)


def _figures(examination: Examination | None) -> tuple[Figure, ...]:
    if examination is None or examination.alignment is None:
        return ()
    return figures_of(examination.alignment.quality)
