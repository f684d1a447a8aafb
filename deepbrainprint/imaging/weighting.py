"""What weighs the signal of a sequence: T1, T2, T2* or proton density, by its timings.

PS3.3 section C.8.3.1 defines the terms; the limits leave room for scanners of 0.06 to 7 T. For the
physics see Brown RW et al., Magnetic Resonance Imaging: Physical Principles and Sequence Design,
2nd edition 2014: chapters 8 (inversion), 15 (contrast of spin echoes), 18 (Ernst angle).
"""

from __future__ import annotations

from math import acos, degrees, exp, log

from deepbrainprint.imaging.headers import Pulse
from deepbrainprint.imaging.opinion import UNKNOWN, Evidence, Opinion, timings
from deepbrainprint.records import Contrast

SHORT_ECHO_MS, LONG_ECHO_MS = 40.0, 60.0  # of spin echoes: T1w and PD below, T2w above
SHORT_REPETITION_MS, LONG_REPETITION_MS = 1300.0, 1800.0
AMBIGUOUS_REPETITION_MS = 6000.0  # a T2w of this length may be a FLAIR that does not say so
RELAXATION_ECHOES = 5  # more than two or three spin echoes measure T2

FLUID_T1_MS = 4300.0
NULL_SHARE, NULL_EXCESS_MS = 0.6, 450.0  # how far a FLAIR's inversion lies off the fluid's null
FAT_INVERSION_MS, STIR_REPETITION_MS = 300.0, 2500.0
WHITE_NULL_MS, WHITE_NULL_REPETITION_MS = (300.0, 500.0), 2000.0
FLUID_INVERSION_MS, FLUID_REPETITION_MS = 1500.0, 5000.0
MP2RAGE_REPETITION_MS, LATE_INVERSION_MS = 4000.0, 1500.0
UNIFORM = frozenset({"UNI", "UNI_DEN", "UNI-DEN", "UNIDEN"})

T2_STAR_ECHO_MS = 12.0  # of gradient echoes; shorter at high field, where T2* is shorter
T2_STAR_HIGH_FIELD_MS, HIGH_FIELD_TESLA = 8.0, 5.0
T2_STAR_LOW_FIELD_MS, LOW_FIELD_TESLA = 20.0, 0.7
GRADIENT_ECHO_MS, GRADIENT_REPETITION_MS = 8.0, 100.0  # shorter is no spin echo
TISSUE_T1_MS = 1000.0  # between white and grey matter, 1.5 to 3 T
PD_ANGLE, T1_ANGLE = 0.7, 1.1  # flip angle in Ernst angles
PD_FLIP_DEG, BALANCED_FLIP_DEG = 5.0, 35.0
SCOUT_REPETITION_MS, SCOUT_ECHO_MS, SCOUT_VOXEL_ML = 4.0, 2.0, 0.003
FIELD_MAP_MM = 2.0
INFLOW_MS = (15.0, 45.0)  # repetition of time-of-flight angiography, and of T1w FLASH

STATED = {
    "T1": Contrast.T1W,
    "T2": Contrast.T2W,
    "FLUID_ATTENUATED": Contrast.FLAIR,
    "PROTON_DENSITY": Contrast.PD,
    "DIFFUSION": Contrast.DIFFUSION,
    "PERFUSION": Contrast.PERFUSION,
    "T2_STAR": Contrast.SWI,
    "STIR": Contrast.T2W,
    "TOF": Contrast.OTHER,
    "FLOW_ENCODED": Contrast.OTHER,
    "TAGGING": Contrast.OTHER,
}


def by_inversion(evidence: Evidence) -> Opinion | None:
    """Inversion recovery: FLAIR, T1w with preparation, STIR or rarer ones, by the timings."""
    pulse = evidence.pulse
    if evidence.kinds & UNIFORM:
        return Opinion(Contrast.T1W, 0.8, f"MP2RAGE, uniform image ({timings(pulse)})")
    if pulse.inversion_ms is None and "IR" not in pulse.scanning:
        return None
    if pulse.echo_ms is None or pulse.repetition_ms is None:
        return None
    if has_gradient_echo(pulse):
        return _prepared(pulse, pulse.inversion_ms or 0.0, pulse.repetition_ms)
    if pulse.echo_ms < SHORT_ECHO_MS:
        return _short_inverted(pulse, pulse.inversion_ms or 0.0, pulse.repetition_ms)
    return _long_inverted(evidence, pulse.repetition_ms)


def _prepared(pulse: Pulse, inversion: float, repetition: float) -> Opinion:
    """Gradient echoes after an inversion: MPRAGE and its kin."""
    words = timings(pulse)
    if inversion >= LATE_INVERSION_MS:
        return Opinion(Contrast.PD, 0.6, f"second image of MP2RAGE ({words})")
    if pulse.volumetric and inversion and repetition >= MP2RAGE_REPETITION_MS:
        return Opinion(Contrast.OTHER, 0.7, f"first image of MP2RAGE, of mixed sign ({words})")
    low, high = WHITE_NULL_MS
    if low <= inversion <= high and repetition >= WHITE_NULL_REPETITION_MS:
        return Opinion(Contrast.OTHER, 0.7, f"inversion that nulls white matter ({words})")
    return Opinion(Contrast.T1W, 0.95, f"inversion recovery, short echo ({words})")


def _short_inverted(pulse: Pulse, inversion: float, repetition: float) -> Opinion:
    words = timings(pulse)
    if 0 < inversion <= FAT_INVERSION_MS and repetition >= STIR_REPETITION_MS:
        return Opinion(Contrast.T2W, 0.5, f"fat suppressed by inversion ({words})")
    if inversion >= FLUID_INVERSION_MS and repetition >= FLUID_REPETITION_MS:
        return Opinion(Contrast.FLAIR, 0.5, f"fluid attenuated, short echo ({words})")
    return Opinion(Contrast.T1W, 0.95, f"inversion recovery, short echo ({words})")


def _long_inverted(evidence: Evidence, repetition: float) -> Opinion:
    pulse, words = evidence.pulse, timings(evidence.pulse)
    null = fluid_null(repetition)
    inversion = pulse.inversion_ms
    if inversion is None:
        return Opinion(Contrast.FLAIR, 0.7, f"inversion recovery, long echo ({words})")
    if inversion <= FAT_INVERSION_MS:
        return Opinion(Contrast.T2W, 0.6, f"fat suppressed by inversion ({words})")
    if pulse.inversions > 1 or inversion > null + NULL_EXCESS_MS:
        return _double_inverted(evidence, words)
    if inversion >= NULL_SHARE * null:
        return Opinion(Contrast.FLAIR, 0.95, f"fluid attenuated ({words})")
    return Opinion(Contrast.T2W, 0.4, f"inversion between fat and fluid ({words})")


def _double_inverted(evidence: Evidence, words: str) -> Opinion:
    if evidence.pulse.inversions < 2 and Contrast.FLAIR in {evidence.hint, _stated(evidence)}:
        return Opinion(Contrast.FLAIR, 0.5, f"inversion later than fluid asks for ({words})")
    return Opinion(Contrast.OTHER, 0.7, f"double inversion ({words})")


def fluid_null(repetition_ms: float) -> float:
    """Inversion time (ms) at which cerebrospinal fluid gives no signal."""
    return FLUID_T1_MS * log(2 / (1 + exp(-repetition_ms / FLUID_T1_MS)))


def by_gradient_echo(evidence: Evidence) -> Opinion | None:
    """Gradient echoes without inversion: T2* by a long echo, else T1 or density by flip angle."""
    pulse = evidence.pulse
    if pulse.echo_ms is None or not has_gradient_echo(pulse):
        return None
    words = timings(pulse)
    if "SWI" in evidence.kinds or pulse.echo_ms >= _t2_star_echo(pulse.field_tesla):
        return Opinion(Contrast.SWI, 0.8, f"gradient echo, long echo ({words})")
    if _is_prepared(pulse):
        return Opinion(Contrast.T1W, 0.95, f"magnetization-prepared gradient echo ({words})")
    if _balanced(pulse):
        return Opinion(Contrast.OTHER, 0.7, f"balanced steady state ({words})")
    return _without_structure(evidence, words) or _spoiled(evidence, words)


def _t2_star_echo(field_tesla: float | None) -> float:
    if field_tesla is not None and field_tesla >= HIGH_FIELD_TESLA:
        return T2_STAR_HIGH_FIELD_MS
    if field_tesla is not None and field_tesla < LOW_FIELD_TESLA:
        return T2_STAR_LOW_FIELD_MS
    return T2_STAR_ECHO_MS


def _is_prepared(pulse: Pulse) -> bool:
    """MPRAGE as it says, or by a repetition that no volume of plain gradient echoes can afford."""
    if "MP" in pulse.variant:
        return pulse.volumetric or (pulse.repetition_ms or 0) < MP2RAGE_REPETITION_MS
    return pulse.volumetric and (pulse.repetition_ms or 0) >= SHORT_REPETITION_MS


def _without_structure(evidence: Evidence, words: str) -> Opinion | None:
    pulse, geometry = evidence.pulse, evidence.geometry
    quick = (pulse.repetition_ms or SCOUT_REPETITION_MS) < SCOUT_REPETITION_MS
    if quick and (pulse.echo_ms or 0) < SCOUT_ECHO_MS and geometry.voxel_ml >= SCOUT_VOXEL_ML:
        return Opinion(Contrast.LOCALIZER, 0.7, f"scout: quick and coarse gradient echo ({words})")
    coarse = min(geometry.spacing_mm) >= FIELD_MAP_MM
    if evidence.echoes > 1 and coarse and not pulse.volumetric:
        return Opinion(Contrast.OTHER, 0.8, f"field map: {evidence.echoes} echoes ({words})")
    low, high = INFLOW_MS
    inflow = low <= (pulse.repetition_ms or 0) <= high
    if inflow and evidence.hint is Contrast.OTHER:
        return Opinion(
            Contrast.OTHER, 0.5, f"T1w or angiography by timings ({words}), the description decides"
        )
    return None


def _spoiled(evidence: Evidence, words: str) -> Opinion:
    """Below the Ernst angle a steady state is weighted by density, above it by T1."""
    pulse = evidence.pulse
    if pulse.flip_deg is None or pulse.repetition_ms is None:
        small = pulse.flip_deg is not None and pulse.flip_deg <= PD_FLIP_DEG
        contrast = Contrast.PD if small else Contrast.T1W
        return Opinion(contrast, 0.6, f"gradient echo, short echo ({words})")
    angle = pulse.flip_deg / degrees(acos(exp(-pulse.repetition_ms / TISSUE_T1_MS)))
    if angle < PD_ANGLE:
        return Opinion(Contrast.PD, 0.6, f"gradient echo of small flip angle ({words})")
    sure = 0.85 if angle >= T1_ANGLE and "SP" in pulse.variant else 0.6
    return Opinion(Contrast.T1W, sure, f"gradient echo, short echo ({words})")


def has_gradient_echo(pulse: Pulse) -> bool:
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
    steady = "SS" in pulse.variant or (pulse.flip_deg or 0) >= BALANCED_FLIP_DEG
    return steady and centred and pulse.repetition_ms < 20


def by_spin_echo(evidence: Evidence) -> Opinion | None:
    """Spin echoes without inversion: T1, density or T2 by echo and repetition time."""
    pulse = evidence.pulse
    if pulse.echo_ms is None or pulse.repetition_ms is None:
        return None
    words = timings(pulse)
    if pulse.echo_ms >= LONG_ECHO_MS:
        return _long_echo(evidence, words)
    if pulse.echo_ms <= SHORT_ECHO_MS and pulse.repetition_ms <= SHORT_REPETITION_MS:
        return Opinion(Contrast.T1W, 0.9, f"spin echo, short echo and repetition ({words})")
    if pulse.echo_ms <= SHORT_ECHO_MS and pulse.repetition_ms >= LONG_REPETITION_MS:
        return Opinion(Contrast.PD, 0.85, f"spin echo, short echo, long repetition ({words})")
    return _as_stated(evidence, f"timings between two contrasts ({words})") or by_hint(
        evidence, f"timings between two contrasts ({words})", 0.4
    )


def _long_echo(evidence: Evidence, words: str) -> Opinion:
    if evidence.echoes >= RELAXATION_ECHOES:
        return Opinion(Contrast.T2W, 0.35, f"last of {evidence.echoes} spin echoes ({words})")
    repetition = evidence.pulse.repetition_ms or 0.0
    tie = repetition >= AMBIGUOUS_REPETITION_MS and evidence.pulse.inversion_ms is None
    if tie and _stated(evidence) is Contrast.FLAIR:
        return Opinion(Contrast.FLAIR, 0.8, f"fluid attenuation stated ({words})")
    if tie and _stated(evidence) is None and evidence.hint is Contrast.FLAIR:
        return Opinion(
            Contrast.FLAIR, 0.5, f"T2w or FLAIR by timings ({words}), the description decides"
        )
    return Opinion(Contrast.T2W, 0.7 if tie else 0.9, f"spin echo, long echo ({words})")


def by_statement(evidence: Evidence) -> Opinion | None:
    """Acquisition Contrast (0008,9209) of enhanced objects, where timings are blank or 0."""
    return _as_stated(evidence, "timings blank")


def _as_stated(evidence: Evidence, why: str) -> Opinion | None:
    contrast = _stated(evidence)
    if contrast is None:
        return None
    return Opinion(contrast, 0.8, f"acquisition contrast stated, {why}")


def _stated(evidence: Evidence) -> Contrast | None:
    return STATED.get(evidence.pulse.stated)


def by_hint(evidence: Evidence, why: str, confidence: float) -> Opinion:
    """What the description suggests, where no fact decides."""
    if evidence.hint is None:
        return Opinion(Contrast.OTHER, UNKNOWN, f"{why}, contrast unknown")
    return Opinion(evidence.hint, confidence, f"{why}, the description decides")
