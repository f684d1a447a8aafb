"""From candidates to a verdict. Pure: no file, no database, no clock."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from deepbrainprint.records import Candidate, Decision, PatientId, Reason, Verdict

KEPT_CANDIDATES = 10


@dataclass(frozen=True)
class Policy:
    """Thresholds on the calibrated log-likelihood ratio (natural log), from the bundle.

    `link_above` was calibrated for a gallery of `reference_gallery` patients. The chance of a
    false match grows with the number of patients compared with, so a larger gallery asks for
    ln(size / reference) more evidence.
    """

    link_above: float
    new_below: float
    close_margin: float
    reference_gallery: int

    def link_threshold(self, gallery_size: int) -> float:
        """Evidence needed to link against `gallery_size` patients."""
        return self.link_above + math.log(max(1.0, gallery_size / self.reference_gallery))


@dataclass(frozen=True)
class Circumstances:
    """What else is known of the probe besides its candidates."""

    gallery_size: int  # patients compared with
    same_header: Collection[PatientId] = ()  # patients under the same hospital patient id
    low_quality: bool = False


def pool(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The best candidate of each patient, most likely first."""
    best: dict[PatientId, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.patient_id)
        if known is None or candidate.llr > known.llr:
            best[candidate.patient_id] = candidate
    return tuple(sorted(best.values(), key=lambda c: (-c.llr, c.patient_id)))


def decide(candidates: Iterable[Candidate], policy: Policy, around: Circumstances) -> Decision:
    """Whose brain it is: `linked`, `new_patient` (patient id still to be made) or `review`.

    "Not sure" is a verdict. The header never decides alone: where it contradicts the brain, a
    person does.
    """
    ranked = pool(candidates)
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
    if not ranked or ranked[0].llr < policy.new_below:
        return _nobody_like_it(around)
    if ranked[0].llr < policy.link_threshold(around.gallery_size):
        return Verdict.REVIEW, (Reason.BETWEEN_THRESHOLDS, *_nature(ranked, around))
    doubt = _doubts(ranked, policy, around)
    if doubt:
        return Verdict.REVIEW, (*doubt, *_nature(ranked, around))
    return Verdict.LINKED, (Reason.BRAIN_MATCHES, *_nature(ranked, around))


def _nobody_like_it(around: Circumstances) -> tuple[Verdict, tuple[Reason, ...]]:
    if around.same_header:  # the header names someone we know, the brain is not theirs
        return Verdict.REVIEW, (Reason.IDENTITY_CONFLICT,)
    return Verdict.NEW_PATIENT, (Reason.NO_CANDIDATE,)


def _doubts(
    ranked: tuple[Candidate, ...], policy: Policy, around: Circumstances
) -> tuple[Reason, ...]:
    found: list[Reason] = []
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
