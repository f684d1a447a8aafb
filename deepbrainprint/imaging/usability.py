"""Whether a structural series can be fingerprinted, and what lowers the trust in it."""

from __future__ import annotations

from dataclasses import replace

from deepbrainprint.imaging.opinion import Evidence, Opinion
from deepbrainprint.imaging.pixeldata import PixelState
from deepbrainprint.records import Contrast

HEAD_MM = 90.0  # a volume that is shorter in the plane, or
LEAST_MM = 70.0  # across the slices, holds too little of a brain
COARSEST_MM = 4.0  # in the plane
OPPOSED = frozenset({"OPP_PHASE", "OPPOSED_PHASE", "OUT_PHASE", "OUTPHASE", "OP"})  # of Dixon
STRUCTURAL = frozenset(
    {Contrast.T1W, Contrast.T1W_ENHANCED, Contrast.T2W, Contrast.FLAIR, Contrast.PD}
)


def judge(opinion: Opinion, evidence: Evidence) -> Opinion:
    """`opinion` with its use settled: refused for what it lacks, trusted less for each doubt."""
    if opinion.contrast not in STRUCTURAL and not opinion.unknown:
        return opinion
    if refusal := _refusal(evidence):
        return replace(opinion, reason=f"{refusal}; {opinion.reason}")
    doubts = _doubts(evidence)
    confidence = round(opinion.confidence * 0.5 ** len(doubts), 3)
    reason = "; ".join([opinion.reason, *doubts, *_flaws(evidence)])
    return replace(opinion, usable=True, confidence=confidence, reason=reason)


def _refusal(evidence: Evidence) -> str:
    geometry = evidence.geometry
    if not geometry.known:
        return "the header does not say where the slices lie"
    if min(geometry.extent_mm[:2]) < HEAD_MM or geometry.extent_mm[2] < LEAST_MM:
        covered = " × ".join(f"{edge:.0f}" for edge in geometry.extent_mm)
        return f"{covered} mm covered by {geometry.slices} slices is less than a head"
    if max(geometry.spacing_mm) > COARSEST_MM:
        return f"pixels of {max(geometry.spacing_mm):.1f} mm are too coarse"
    return ""


def _doubts(evidence: Evidence) -> list[str]:
    covered = evidence.geometry.extent_mm[2]
    doubts = {
        f"part of a head: {covered:.0f} mm across the slices": covered < HEAD_MM,
        "fat against water: dark edges": bool(evidence.kinds & OPPOSED),
        "marked as derived": "DERIVED" in evidence.kinds,
        "another body part is named": evidence.first.elsewhere,
        "the description suggests a localizer": evidence.hint is Contrast.LOCALIZER,
    }
    return [words for words, true in doubts.items() if true]


def _flaws(evidence: Evidence) -> list[str]:
    """What will make conversion refuse the series."""
    broken = sum(header.pixels is not PixelState.WHOLE for header in evidence.headers)
    gaps = len(evidence.geometry.gaps)
    flaws = {
        f"{broken} of {len(evidence.headers)} instances without whole pixels": broken > 0,
        f"slices missing in {gaps} places": gaps > 0,
    }
    return [words for words, true in flaws.items() if true]
