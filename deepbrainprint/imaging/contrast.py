"""What a series shows, from the facts of its headers; a description only breaks ties.

First what is no structural image at all, then, in `weighting`, what weighs the signal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from deepbrainprint.imaging import weighting
from deepbrainprint.imaging.geometry import Geometry
from deepbrainprint.imaging.headers import ImageHeader
from deepbrainprint.imaging.opinion import Evidence, Opinion
from deepbrainprint.records import Contrast

LOCALIZER_MM = 90.0  # slices of one orientation among several that cover less are a localizer
THICKEST_MM = 10.0  # slices farther apart are a localizer
MANY_VOLUMES = 5  # over time: a function, not a structure

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kin below it
WITHOUT_TISSUE = {
    "1.2.840.10008.5.1.4.1.1.4.2": "spectroscopy",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
}
DOCUMENTS = frozenset({"SR", "DOC", "KO", "PR", "AU"})
COMPUTED = frozenset(
    {
        "MPR", "PROJECTION IMAGE", "MIP", "MNIP", "MIN IP", "MINIP", "REFORMATTED", "ADC", "FA",
        "TRACEW", "SUBTRACTION", "STD_DEVIATION", "MAXIMUM", "MINIMUM", "RCBV", "RCBF", "RELCBV",
        "RELCBF", "RELMTT", "RELTTP", "CBV", "CBF", "MTT", "TTP", "TMAX", "PBP", "GBP", "CSA MPR",
        "CSA 3D EDITOR", "PRESENTATION STATE", "SCREEN SAVE", "FUSED", "DERIVED_FUSION",
        "COMPRESSED_MPR", "TENSOR", "CSAPARALLEL", "SYNTHETIC", "SYMRI", "MAGIC", "T1 MAP",
        "T2 MAP", "T2_STAR MAP", "B0 MAP", "FAT_FRACTION", "FAT FRACTION",
    }
)  # fmt: skip
NOT_MAGNITUDE = frozenset(
    {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY", "VELOCITY MAP"}
)
MAGNITUDE = frozenset({"M", "MAGNITUDE", "M_FFE", "M_SE", "M_IR"})
FAT = frozenset({"FAT", "F"})
WATER_TOO = frozenset({"WATER", "W", "IN_PHASE", "INPHASE", "IP"})


def weigh(headers: Sequence[ImageHeader], geometry: Geometry, *, echoes: int = 1) -> Evidence:
    """Put together what the rules look at; Image Type is that of most instances."""
    counts = Counter(kind for header in headers for kind in header.kinds)
    usual = frozenset(kind for kind, count in counts.items() if 2 * count > len(headers))
    return Evidence(headers, usual, headers[0].pulse, geometry, headers[0].hint, echoes)


def classify(evidence: Evidence) -> Opinion:
    """What the series shows, how sure that is and why."""
    opinion = next(found for rule in RULES if (found := rule(evidence)) is not None)
    if not evidence.first.enhanced:
        return opinion
    after = replace(opinion, reason=f"{opinion.reason}, contrast agent")
    enhanced = opinion.contrast is Contrast.T1W  # in other contrasts it changes little
    return replace(after, contrast=Contrast.T1W_ENHANCED) if enhanced else after


def _no_scan(evidence: Evidence) -> Opinion | None:
    first = evidence.first
    if min(first.matrix) < 1 or first.modality in DOCUMENTS:
        return Opinion(Contrast.REPORT, 1.0, "objects without an image")
    if (first.sop_class_uid + ".").startswith(SECONDARY_CAPTURE + "."):
        return Opinion(Contrast.DERIVED, 1.0, "secondary capture: a picture, not a scan")
    if first.modality != "MR":
        return Opinion(Contrast.OTHER, 1.0, "not magnetic resonance")
    if kind := WITHOUT_TISSUE.get(first.sop_class_uid):
        return Opinion(Contrast.OTHER, 1.0, f"{kind}: no image of tissue")
    return None


def _derived(evidence: Evidence) -> Opinion | None:
    computed = evidence.kinds & COMPUTED
    if computed or evidence.kinds >= {"DERIVED", "SECONDARY"}:
        what = f"image type {min(computed)}" if computed else "image type derived, secondary"
        return Opinion(Contrast.DERIVED, 0.95, f"{what}: computed from other images")
    if evidence.first.colour:
        return Opinion(Contrast.DERIVED, 0.95, "in colour: computed from other images")
    return None


def _not_magnitude(evidence: Evidence) -> Opinion | None:
    if evidence.kinds & NOT_MAGNITUDE and not evidence.kinds & MAGNITUDE:
        return Opinion(Contrast.OTHER, 0.9, "a phase, real or imaginary image, no magnitude")
    if evidence.kinds & FAT and not evidence.kinds & WATER_TOO:
        return Opinion(Contrast.OTHER, 0.9, "the fat image of a Dixon series: no brain")
    return None


def _localizer(evidence: Evidence) -> Opinion | None:
    geometry = evidence.geometry
    if "LOCALIZER" in evidence.kinds:
        return Opinion(Contrast.LOCALIZER, 0.95, "image type localizer")
    if geometry.orientations > 1 and geometry.extent_mm[2] < LOCALIZER_MM:
        return Opinion(
            Contrast.LOCALIZER, 0.9, f"few slices in each of {geometry.orientations} orientations"
        )
    if geometry.step_mm > THICKEST_MM:
        return Opinion(Contrast.LOCALIZER, 0.8, f"slices {geometry.step_mm:.0f} mm apart")
    return None


def _diffusion(evidence: Evidence) -> Opinion | None:
    weighted = any((header.b_value or 0) > 0 for header in evidence.headers)
    if weighted or "DIFFUSION" in evidence.kinds or evidence.pulse.stated == "DIFFUSION":
        return Opinion(Contrast.DIFFUSION, 0.95, "diffusion weighting in the header")
    if evidence.pulse.scanning >= {"EP", "SE"}:
        return Opinion(Contrast.DIFFUSION, 0.7, "spin-echo echo-planar sequence")
    return None


def _perfusion(evidence: Evidence) -> Opinion | None:
    if evidence.kinds & {"PERFUSION", "ASL"} or evidence.pulse.stated == "PERFUSION":
        return Opinion(Contrast.PERFUSION, 0.95, "image type perfusion")
    if evidence.geometry.volumes >= MANY_VOLUMES and evidence.first.enhanced:
        return Opinion(Contrast.PERFUSION, 0.8, f"{evidence.geometry.volumes:.0f} volumes")
    return None


def _functional(evidence: Evidence) -> Opinion | None:
    if "EP" in evidence.pulse.scanning or "MOSAIC" in evidence.kinds:
        return Opinion(Contrast.FMRI, 0.7, "gradient-echo echo-planar sequence or mosaic")
    if evidence.geometry.volumes >= MANY_VOLUMES:
        return Opinion(Contrast.FMRI, 0.5, f"{evidence.geometry.volumes:.0f} volumes over time")
    return None


def _vessels(evidence: Evidence) -> Opinion | None:
    if evidence.pulse.angiography or evidence.pulse.stated in {"TOF", "FLOW_ENCODED"}:
        return Opinion(Contrast.OTHER, 0.9, "angiography: vessels, no tissue contrast")
    return None


def _unknown(evidence: Evidence) -> Opinion:
    return weighting.by_hint(evidence, "timings blank", 0.3)


RULES: tuple[Callable[[Evidence], Opinion | None], ...] = (
    _no_scan, _derived, _not_magnitude, _localizer, _diffusion, _perfusion, _functional, _vessels,
    weighting.by_inversion, weighting.by_gradient_echo, weighting.by_spin_echo,
    weighting.by_statement, _unknown,
)  # fmt: skip
