"""Whether a structural series can be fingerprinted, and what lowers the trust in it."""

from __future__ import annotations

from dataclasses import replace

from deepbrainprint.imaging.contrast import Evidence, Opinion
from deepbrainprint.imaging.pixeldata import PixelState
from deepbrainprint.records import Contrast

def _judge_use(opinion: Opinion, evidence: Evidence) -> Opinion:
    """Whether a structural series can be fingerprinted, and what lowers the trust in it."""
    if evidence.first.enhanced and opinion.contrast is Contrast.T1W:
        opinion = replace(
            opinion, contrast=Contrast.T1W_ENHANCED, reason=f"{opinion.reason}, contrast agent"
        )
    if refusal := _refusal(evidence):
        return replace(opinion, usable=False, reason=f"{refusal}; {opinion.reason}")
    doubts = _doubts(evidence)
    confidence = round(opinion.confidence * 0.5 ** len(doubts), 3)
    reason = "; ".join([opinion.reason, *doubts, *_flaws(evidence)])
    return replace(opinion, usable=True, confidence=confidence, reason=reason)


def _refusal(evidence: Evidence) -> str:
    geometry = evidence.geometry
    if not geometry.known:
        return "the header does not say where the slices lie"
    if min(geometry.extent_mm) < HEAD_MM:
        covered = " × ".join(f"{edge:.0f}" for edge in geometry.extent_mm)
        return f"{covered} mm covered by {geometry.slices} slices is less than a head"
    if max(geometry.spacing_mm) > COARSEST_MM:
        return f"pixels of {max(geometry.spacing_mm):.1f} mm are too coarse"
    return ""


def _doubts(evidence: Evidence) -> list[str]:
    doubts = {
        "marked as derived": "DERIVED" in evidence.kinds,
        "another body part is named": evidence.first.elsewhere,
        "the description suggests a localizer": evidence.hint is Contrast.LOCALIZER,
    }
    return [words for words, true in doubts.items() if true]


def _flaws(evidence: Evidence) -> list[str]:
    broken = sum(header.pixels is not PixelState.WHOLE for header in evidence.headers)
    flaws = {
        f"{broken} instances without whole pixels": broken > 0,
        f"{len(evidence.geometry.gaps)} gaps between slices": bool(evidence.geometry.gaps),
    }
    return [words for words, true in flaws.items() if true]


