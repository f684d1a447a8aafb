"""What a series shows, from the facts of its headers; a description only breaks ties.

PS3.3 section C.8.3.1 defines the terms; the limits leave room for scanners of 0.06 to 7 T.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from deepbrainprint.imaging.geometry import Geometry
from deepbrainprint.imaging.headers import ImageHeader, Pulse
from deepbrainprint.records import Contrast

LOCALIZER_MM = 90.0  # slices of one orientation among several that cover less are a localizer
THICKEST_MM = 10.0  # slices farther apart are a localizer
MANY_VOLUMES = 5  # over time: a function, not a structure

SHORT_ECHO_MS, LONG_ECHO_MS = 40.0, 60.0  # of spin echoes: T1w and PD below, T2w above
T2_STAR_ECHO_MS = 12.0  # of gradient echoes
SHORT_REPETITION_MS, LONG_REPETITION_MS = 1300.0, 1800.0
FLAIR_INVERSION_MS, FLAIR_REPETITION_MS, FLAIR_ECHO_MS = 1200.0, 3500.0, 60.0
AMBIGUOUS_REPETITION_MS = 6000.0  # a T2w of this length may be a FLAIR that does not say so
STIR_INVERSION_MS = 300.0
PD_FLIP_DEG = 5.0
GRADIENT_ECHO_MS, GRADIENT_REPETITION_MS = 8.0, 100.0  # shorter is no spin echo
UNKNOWN = 0.2

COMPUTED = frozenset(
    {
        "MPR", "PROJECTION IMAGE", "MIP", "MNIP", "MIN IP", "REFORMATTED", "ADC", "FA", "TRACEW",
        "T1 MAP", "T2 MAP", "T2_STAR MAP", "B0 MAP", "SUBTRACTION", "RCBV", "RCBF", "MTT", "TTP",
        "PBP", "GBP", "CSA MPR", "CSA 3D EDITOR", "PRESENTATION STATE", "SCREEN SAVE", "FUSED",
        "DERIVED_FUSION", "COMPRESSED_MPR", "TENSOR", "CSAPARALLEL",
    }
)  # fmt: skip
NOT_MAGNITUDE = frozenset(
    {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY", "VELOCITY MAP"}
)
STATED = {
    "T1": Contrast.T1W,
    "T2": Contrast.T2W,
    "FLUID_ATTENUATED": Contrast.FLAIR,
    "PROTON_DENSITY": Contrast.PD,
    "DIFFUSION": Contrast.DIFFUSION,
    "PERFUSION": Contrast.PERFUSION,
    "T2_STAR": Contrast.SWI,
    "STIR": Contrast.T2W,
}


@dataclass(frozen=True)
class Opinion:
    """What a series was taken for."""

    contrast: Contrast
    confidence: float  # 0…1
    reason: str
    usable: bool = False

    @property
    def unknown(self) -> bool:
        """Nothing speaks for or against a structural image."""
        return self.contrast is Contrast.OTHER and self.confidence <= UNKNOWN


@dataclass(frozen=True)
class Evidence:
    """What the rules look at."""

    headers: Sequence[ImageHeader]
    kinds: frozenset[str]
    pulse: Pulse
    geometry: Geometry
    hint: Contrast | None

    @property
    def first(self) -> ImageHeader:
        """A header that stands for the series."""
        return self.headers[0]


def weigh(headers: Sequence[ImageHeader], geometry: Geometry) -> Evidence:
    """Put together what the rules look at; Image Type is that of most instances."""
    counts = Counter(kind for header in headers for kind in header.kinds)
    usual = frozenset(kind for kind, count in counts.items() if 2 * count > len(headers))
    return Evidence(headers, usual, headers[0].pulse, geometry, headers[0].hint)


def classify(evidence: Evidence) -> Opinion:
    """What the series shows, how sure that is and why."""
    opinion = next(found for rule in RULES if (found := rule(evidence)) is not None)
    if evidence.first.enhanced and opinion.contrast is Contrast.T1W:
        reason = f"{opinion.reason}, contrast agent"
        return replace(opinion, contrast=Contrast.T1W_ENHANCED, reason=reason)
    return opinion


def _no_image(evidence: Evidence) -> Opinion | None:
    if min(evidence.first.matrix) < 1:
        return Opinion(Contrast.REPORT, 1.0, "objects without an image")
    if evidence.first.modality != "MR":
        return Opinion(Contrast.OTHER, 1.0, "not magnetic resonance")
    return None


def _derived(evidence: Evidence) -> Opinion | None:
    computed = evidence.kinds & COMPUTED
    if computed or evidence.kinds >= {"DERIVED", "SECONDARY"}:
        what = f"image type {min(computed)}" if computed else "image type derived, secondary"
        return Opinion(Contrast.DERIVED, 0.95, f"{what}: computed from other images")
    return None


def _not_magnitude(evidence: Evidence) -> Opinion | None:
    if evidence.kinds & NOT_MAGNITUDE and not evidence.kinds & {"M", "MAGNITUDE", "M_FFE", "M_SE"}:
        return Opinion(Contrast.OTHER, 0.9, "a phase, real or imaginary image, no magnitude")
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
        return Opinion(
            Contrast.PERFUSION, 0.8, f"{evidence.geometry.volumes:.0f} volumes with contrast agent"
        )
    return None


def _functional(evidence: Evidence) -> Opinion | None:
    if "EP" in evidence.pulse.scanning or "MOSAIC" in evidence.kinds:
        return Opinion(Contrast.FMRI, 0.7, "gradient-echo echo-planar sequence or mosaic")
    if evidence.geometry.volumes >= MANY_VOLUMES:
        return Opinion(Contrast.FMRI, 0.5, f"{evidence.geometry.volumes:.0f} volumes over time")
    return None


def _vessels(evidence: Evidence) -> Opinion | None:
    if evidence.pulse.angiography:
        return Opinion(Contrast.OTHER, 0.9, "angiography: vessels, no tissue contrast")
    return None


def _inversion(evidence: Evidence) -> Opinion | None:
    """Inversion recovery: FLAIR, T1w with preparation, or STIR, told apart by the timings."""
    pulse = evidence.pulse
    if pulse.inversion_ms is None and "IR" not in pulse.scanning:
        return None
    echo, repetition = pulse.echo_ms, pulse.repetition_ms
    words = _timings(pulse)
    if echo is None or repetition is None:
        return None
    if echo >= FLAIR_ECHO_MS and repetition >= FLAIR_REPETITION_MS:
        return _long_inversion(pulse.inversion_ms, words)
    if echo < SHORT_ECHO_MS:
        return Opinion(Contrast.T1W, 0.95, f"inversion recovery, short echo ({words})")
    return None


def _long_inversion(inversion_ms: float | None, words: str) -> Opinion | None:
    if inversion_ms is None:
        return Opinion(Contrast.FLAIR, 0.7, f"inversion recovery, long echo ({words})")
    if inversion_ms >= FLAIR_INVERSION_MS:
        return Opinion(Contrast.FLAIR, 0.95, f"fluid attenuated ({words})")
    if inversion_ms <= STIR_INVERSION_MS:
        return Opinion(Contrast.T2W, 0.6, f"fat suppressed by inversion ({words})")
    return None


def _gradient_echo(evidence: Evidence) -> Opinion | None:
    pulse = evidence.pulse
    if pulse.echo_ms is None or not _has_gradient_echo(pulse):
        return None
    words = _timings(pulse)
    if pulse.echo_ms >= T2_STAR_ECHO_MS or "SWI" in evidence.kinds:
        return Opinion(Contrast.SWI, 0.8, f"gradient echo, long echo ({words})")
    if "MP" in pulse.variant:
        return Opinion(Contrast.T1W, 0.95, f"magnetization-prepared gradient echo ({words})")
    if _balanced(pulse):
        return Opinion(Contrast.OTHER, 0.7, f"balanced steady state ({words})")
    if pulse.flip_deg is not None and pulse.flip_deg <= PD_FLIP_DEG:
        return Opinion(Contrast.PD, 0.6, f"gradient echo of small flip angle ({words})")
    sure = 0.85 if pulse.flip_deg and "SP" in pulse.variant else 0.6
    return Opinion(Contrast.T1W, sure, f"gradient echo, short echo ({words})")


def _has_gradient_echo(pulse: Pulse) -> bool:
    """As the header says, or by timings where it is silent (also: RM, a research mode)."""
    if pulse.scanning & {"GR", "SE"}:
        return "SE" not in pulse.scanning
    short = pulse.repetition_ms is not None and pulse.repetition_ms < GRADIENT_REPETITION_MS
    return short or (pulse.echo_ms or GRADIENT_ECHO_MS) < GRADIENT_ECHO_MS


def _balanced(pulse: Pulse) -> bool:
    """Echo in the middle of a short repetition and no spoiling: balanced steady state."""
    if pulse.repetition_ms is None or pulse.echo_ms is None or "SP" in pulse.variant:
        return False
    centred = 0.4 <= pulse.echo_ms / pulse.repetition_ms <= 0.6
    return "SS" in pulse.variant and centred and pulse.repetition_ms < 20


def _spin_echo(evidence: Evidence) -> Opinion | None:
    pulse = evidence.pulse
    if pulse.echo_ms is None or pulse.repetition_ms is None:
        return None
    words = _timings(pulse)
    long = pulse.repetition_ms >= LONG_REPETITION_MS
    if pulse.echo_ms >= LONG_ECHO_MS:
        return _long_echo(evidence, words)
    if pulse.echo_ms <= SHORT_ECHO_MS and pulse.repetition_ms <= SHORT_REPETITION_MS:
        return Opinion(Contrast.T1W, 0.9, f"spin echo, short echo and repetition ({words})")
    if pulse.echo_ms <= SHORT_ECHO_MS and long:
        return Opinion(Contrast.PD, 0.85, f"spin echo, short echo, long repetition ({words})")
    return _by_hint(evidence, f"timings between two contrasts ({words})", 0.4)


def _long_echo(evidence: Evidence, words: str) -> Opinion:
    repetition = evidence.pulse.repetition_ms or 0.0
    tie = repetition >= AMBIGUOUS_REPETITION_MS and evidence.pulse.inversion_ms is None
    if tie and evidence.hint is Contrast.FLAIR:
        return Opinion(
            Contrast.FLAIR, 0.5, f"T2w or FLAIR by timings ({words}), the description decides"
        )
    return Opinion(Contrast.T2W, 0.7 if tie else 0.9, f"spin echo, long echo ({words})")


def _as_stated(evidence: Evidence) -> Opinion | None:
    contrast = STATED.get(evidence.pulse.stated)
    if contrast is None:
        return None
    return Opinion(contrast, 0.8, "acquisition contrast stated, timings blank")


def _unknown(evidence: Evidence) -> Opinion:
    return _by_hint(evidence, "timings blank", 0.3)


def _by_hint(evidence: Evidence, why: str, confidence: float) -> Opinion:
    if evidence.hint is None:
        return Opinion(Contrast.OTHER, UNKNOWN, f"{why}, contrast unknown")
    return Opinion(evidence.hint, confidence, f"{why}, the description decides")


RULES: tuple[Callable[[Evidence], Opinion | None], ...] = (
    _no_image, _derived, _not_magnitude, _localizer, _diffusion, _perfusion, _functional, _vessels,
    _inversion, _gradient_echo, _spin_echo, _as_stated, _unknown,
)  # fmt: skip


def _timings(pulse: Pulse) -> str:
    named = {"TE": pulse.echo_ms, "TR": pulse.repetition_ms, "TI": pulse.inversion_ms}
    words = [f"{name} {value:.4g} ms" for name, value in named.items() if value is not None]
    return ", ".join([*words, "3D" if pulse.volumetric else "2D"])
