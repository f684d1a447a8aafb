"""From the evidence of each scan to a verdict. Pure: no file, no database, no clock."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from deepbrainprint.linkage.calibration import Calibration
from deepbrainprint.records import (
    Candidate,
    Decision,
    FingerprintId,
    PatientId,
    Reason,
    ScanEvidence,
    Verdict,
)

KEPT_CANDIDATES = 10
# Between the evidence of two scans of one visit, over 42 comparisons of a T1w and a T2w of seven
# people with those of another: 0.53, and at most 0.84 in 95 % of resamples of the people.
CORRELATION, CORRELATION_AT_MOST = 0.53, 0.84


@dataclass(frozen=True)
class Policy:
    """Thresholds on the calibrated log-likelihood ratio (natural log), from the bundle.

    `link_above` was calibrated for a gallery of `reference_gallery` scans of as many patients. The
    chance of a false match grows with the number of scans compared with, so a larger gallery asks
    for ln(size / reference) more evidence.
    """

    link_above: float
    new_below: float
    close_margin: float
    reference_gallery: int

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        """The thresholds that were calibrated with the encoder."""
        return cls(
            link_above=calibration.link_above,
            new_below=calibration.new_below,
            close_margin=calibration.close_margin,
            reference_gallery=calibration.reference_gallery,
        )

    def link_threshold(self, gallery_size: int) -> float:
        """Evidence needed to link after comparing with `gallery_size` scans."""
        return self.link_above + math.log(max(1.0, gallery_size / self.reference_gallery))


@dataclass(frozen=True)
class Circumstances:
    """What else is known of the probe besides its candidates."""

    gallery_size: int  # patients compared with
    comparisons: int = 0  # their scans, where that is more
    same_header: Collection[PatientId] = ()  # patients under the same hospital patient id
    low_quality: bool = False  # every scan of the study is


def combine(llrs: Sequence[float]) -> float:
    """Evidence of several scans of one visit for one patient, from that of each; natural log.

    Scans of one visit err together, so their sum would claim too much. Of n Gaussian ratios with
    correlation r given the truth, the joint ratio is the sum over 1 + (n − 1) r: the mean for
    r = 1, the sum for r = 0. The correlation is the measured one, which is of few people; so the
    result stays below what n scans as strong as the strongest would give at the upper end of its
    interval. Evidence against is averaged: the threshold for it is a quantile of single scans.
    """
    n, total = len(llrs), sum(llrs)
    if total <= 0:
        return total / n
    most = max(llrs) * n / (1 + (n - 1) * CORRELATION_AT_MOST)
    return min(total / (1 + (n - 1) * CORRELATION), most)


def pool(evidence: Iterable[ScanEvidence]) -> tuple[Candidate, ...]:
    """One candidate for each patient, most likely first.

    Each scan of the study speaks by the nearest scan of the patient; those that count are combined.
    """
    nearest: dict[PatientId, dict[FingerprintId, ScanEvidence]] = {}
    for one in evidence:
        scans = nearest.setdefault(one.patient_id, {})
        known = scans.get(one.probe_id)
        if known is None or one.llr > known.llr:
            scans[one.probe_id] = one
    candidates = [_candidate(tuple(scans.values())) for scans in nearest.values()]
    return tuple(sorted(candidates, key=lambda c: (-c.llr, c.patient_id)))


def _candidate(evidence: tuple[ScanEvidence, ...]) -> Candidate:
    counted = [one for one in evidence if one.counted] or evidence
    best = max(counted, key=lambda one: one.llr)
    return Candidate(
        best.patient_id,
        best.fingerprint_id,
        best.similarity,
        combine([one.llr for one in counted]),
        best.same_contrast,
        tuple(sorted(evidence, key=lambda one: one.probe_id)),
    )


def decide(evidence: Iterable[ScanEvidence], policy: Policy, around: Circumstances) -> Decision:
    """Whose brain it is: `linked`, `new_patient` (patient id still to be made) or `review`.

    "Not sure" is a verdict. The header never decides alone: where it contradicts the brain, a
    person does.
    """
    ranked = pool(evidence)
    verdict, reasons = _verdict(ranked, policy, around)
    return Decision(
        verdict=verdict,
        reasons=reasons,
        patient_id=ranked[0].patient_id if verdict is Verdict.LINKED else None,
        candidates=ranked[:KEPT_CANDIDATES],
        gallery_size=around.gallery_size,
    )


def _verdict(
    ranked: tuple[Candidate, ...], policy: Policy, around: Circumstances
) -> tuple[Verdict, tuple[Reason, ...]]:
    if around.low_quality:
        return Verdict.REVIEW, (Reason.LOW_QUALITY, *_nature(ranked, around))
    needed = policy.link_threshold(max(around.gallery_size, around.comparisons))
    alone = _would_link_alone(ranked, needed)
    if not ranked or ranked[0].llr < policy.new_below:
        return (Verdict.REVIEW, alone) if alone else _nobody_like_it(around)
    if ranked[0].llr < needed:
        reasons = (*alone, Reason.BETWEEN_THRESHOLDS, *_nature(ranked, around))
        return Verdict.REVIEW, reasons
    doubt = _doubts(ranked, policy, around)
    if doubt:
        return Verdict.REVIEW, (*doubt, *_nature(ranked, around))
    return Verdict.LINKED, (Reason.BRAIN_MATCHES, *_nature(ranked, around))


def _would_link_alone(ranked: tuple[Candidate, ...], needed: float) -> tuple[Reason, ...]:
    """Whether one scan by itself would link to somebody to whom all together do not."""
    strong = any(one.llr >= needed for candidate in ranked for one in candidate.evidence)
    return (Reason.SERIES_DISAGREE,) if strong else ()


def _nobody_like_it(around: Circumstances) -> tuple[Verdict, tuple[Reason, ...]]:
    if around.same_header:  # the header names someone we know, the brain is not theirs
        return Verdict.REVIEW, (Reason.IDENTITY_CONFLICT,)
    return Verdict.NEW_PATIENT, (Reason.NO_CANDIDATE,)


def _doubts(
    ranked: tuple[Candidate, ...], policy: Policy, around: Circumstances
) -> tuple[Reason, ...]:
    found: list[Reason] = []
    if any(one.counted and one.llr < policy.new_below for one in ranked[0].evidence):
        found.append(Reason.SERIES_DISAGREE)
    if len(ranked) > 1 and ranked[0].llr - ranked[1].llr < policy.close_margin:
        found.append(Reason.TWO_CLOSE_CANDIDATES)
    if around.same_header and ranked[0].patient_id not in around.same_header:
        found.append(Reason.IDENTITY_CONFLICT)
    return tuple(found)


def _nature(ranked: tuple[Candidate, ...], around: Circumstances) -> tuple[Reason, ...]:
    if not ranked:
        return ()
    agrees = ranked[0].patient_id in around.same_header
    header = Reason.HEADER_AGREES if agrees else Reason.HEADER_DIFFERS
    return (header,) if ranked[0].same_contrast else (header, Reason.CROSS_CONTRAST)
