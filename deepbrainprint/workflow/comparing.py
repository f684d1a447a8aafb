"""Whether two inputs show one person, from the evidence of all their scans; no database."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from pathlib import Path

from deepbrainprint.encoder.card import read_card
from deepbrainprint.imaging import pictures
from deepbrainprint.linkage.calibration import Calibration
from deepbrainprint.linkage.decision import Circumstances, Policy, decide
from deepbrainprint.records import (
    Contrast,
    Decision,
    Fingerprint,
    FingerprintId,
    PatientId,
    ScanEvidence,
    Verdict,
)
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.fingerprinting import FingerprintedInput, fingerprint, open_tools
from deepbrainprint.workflow.methods import ENCODER, weights_of

WORDS = {
    Verdict.LINKED: "The same person.",
    Verdict.NEW_PATIENT: "Two different people.",
    Verdict.REVIEW: "Not sure: a person should look.",
}
OTHER = PatientId(1)  # who the second input is of


@dataclass(frozen=True)
class Pair:
    """What one scan of the one input says together with its nearest scan of the other."""

    series_a: int | None
    contrast_a: Contrast
    series_b: int | None
    contrast_b: Contrast
    similarity: float
    llr: float
    same_contrast: bool
    counted: bool


@dataclass(frozen=True)
class Comparison:
    """What two inputs say about being of one person; `llr` is the evidence of all pairs."""

    words: str
    similarity: float
    llr: float
    probability: float
    same_contrast: bool
    link_above: float
    new_below: float
    encoder_version: str
    reasons: tuple[str, ...]
    series: tuple[Pair, ...]


def compare(
    settings: Settings,
    paths: tuple[Path, Path],
    *,
    method: str = ENCODER,
    contrasts: tuple[Contrast | None, Contrast | None] = (None, None),
    png: Path | None = None,
) -> Comparison:
    """Whether two inputs show one person, by fingerprints of a method that has calibrated ones.

    BadStudy when nothing of either can be used.
    """
    calibration = Calibration.from_json(read_card(weights_of(method, settings)).calibration)
    return weigh(*both(settings, paths, method, contrasts, png), calibration)


def both(
    settings: Settings,
    paths: tuple[Path, Path],
    method: str,
    contrasts: tuple[Contrast | None, Contrast | None],
    png: Path | None,
) -> tuple[FingerprintedInput, FingerprintedInput]:
    """Describe two inputs and draw them; BadStudy when nothing of either can be used."""
    tools = open_tools(settings, method)
    a, b = (
        fingerprint(path, tools, contrast) for path, contrast in zip(paths, contrasts, strict=True)
    )
    if png is not None:
        pictures.compare_picture(a.best.alignment.brain, b.best.alignment.brain, png)
    return a, b


def weigh(a: FingerprintedInput, b: FingerprintedInput, calibration: Calibration) -> Comparison:
    """All scans of `a` against all of `b`, from that side on which less speaks for one person."""
    policy = Policy.of(calibration)
    sides = [
        (decide(_evidence(one, other, calibration), policy, Circumstances(1)), one is a)
        for one, other in ((a, b), (b, a))
    ]
    decision, forward = min(sides, key=lambda side: side[0].candidates[0].llr)
    best = decision.candidates[0]
    return Comparison(
        words=WORDS[decision.verdict],
        similarity=best.similarity,
        llr=best.llr,
        probability=1.0 / (1.0 + exp(-best.llr)),
        same_contrast=best.same_contrast,
        link_above=calibration.link_above,
        new_below=calibration.new_below,
        encoder_version=a.best.fingerprint.encoder_version,
        reasons=tuple(r.value for r in decision.reasons if not r.value.startswith("header")),
        series=tuple(_pair(a, b, one, forward=forward) for one in _told(decision)),
    )


def _evidence(
    probe: FingerprintedInput, known: FingerprintedInput, calibration: Calibration
) -> list[ScanEvidence]:
    """Every scan of `probe` against every one of `known`; ids are places in their lists."""
    all_low = all(scan.low_quality for scan in probe.scans)
    return [
        _one(
            (FingerprintId(i), scan.fingerprint),
            (FingerprintId(j), other.fingerprint),
            calibration,
            counted=all_low or not scan.low_quality,
        )
        for i, scan in enumerate(probe.scans)
        for j, other in enumerate(known.scans)
    ]


def _one(
    probe: tuple[FingerprintId, Fingerprint],
    known: tuple[FingerprintId, Fingerprint],
    calibration: Calibration,
    *,
    counted: bool,
) -> ScanEvidence:
    (probe_id, a), (known_id, b) = probe, known
    similarity = float(a.vector @ b.vector)
    same = a.contrast is b.contrast and a.contrast is not Contrast.OTHER
    llr = calibration.llr(similarity, same_contrast=same)
    return ScanEvidence(OTHER, probe_id, known_id, similarity, llr, same, counted)


def _told(decision: Decision) -> tuple[ScanEvidence, ...]:
    return decision.candidates[0].evidence


def _pair(
    a: FingerprintedInput, b: FingerprintedInput, one: ScanEvidence, *, forward: bool
) -> Pair:
    place_a, place_b = (
        (one.probe_id, one.fingerprint_id) if forward else (one.fingerprint_id, one.probe_id)
    )
    first, second = a.scans[place_a], b.scans[place_b]
    return Pair(
        first.number,
        first.fingerprint.contrast,
        second.number,
        second.fingerprint.contrast,
        one.similarity,
        one.llr,
        one.same_contrast,
        one.counted,
    )
