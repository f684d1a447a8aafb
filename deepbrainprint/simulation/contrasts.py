"""How bright each tissue is in each contrast, before the scanner adds its part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.random import Generator

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, FloatArray
from deepbrainprint.simulation.anatomy import Anatomy

SLAB = 8  # voxels along axis 0
# a demyelinated or gliotic spot against the brighter of white and grey; chosen, after how they look
LESION_AGAINST_BRAIN = {
    Contrast.T1W: 0.74,
    Contrast.T2W: 1.35,
    Contrast.FLAIR: 1.3,
    Contrast.PD: 1.12,
}


@dataclass(frozen=True)
class Brightness:
    """Signal per tissue, white matter in T1w = 1; `texture` is the exponent of the template's.

    The template is T1-weighted: where it is darker than its tissue, T2w is brighter.
    """

    white: float
    grey: float
    fluid: float
    bone: float
    marrow: float
    fat: float
    muscle: float
    texture: float


def brightness(contrast: Contrast) -> Brightness:
    """The usual order of brightness at 1.5–3 T; BadStudy for a contrast that is not simulated."""
    match contrast:
        case Contrast.T1W:
            return Brightness(1.0, 0.72, 0.26, 0.06, 0.42, 1.15, 0.5, texture=1.0)
        case Contrast.T2W:
            return Brightness(0.36, 0.52, 1.0, 0.04, 0.2, 0.5, 0.16, texture=-0.6)
        case Contrast.FLAIR:
            return Brightness(0.52, 0.7, 0.12, 0.04, 0.3, 0.66, 0.3, texture=0.4)
        case Contrast.PD:
            return Brightness(0.66, 0.84, 0.9, 0.06, 0.4, 0.8, 0.55, texture=-0.3)
        case _:
            raise BadStudy(
                f"contrast {contrast} is not simulated; use T1w, T2w, FLAIR or PD",
                code="contrast_not_simulated",
            )


@dataclass(frozen=True)
class Shells:
    """Thickness in mm of what lies outside the pia: fluid, bone, then scalp."""

    fluid: float
    bone: float
    scalp: float


def painted(
    head: Anatomy, bright: Brightness, shells: Shells, *, unevenness: FloatArray
) -> FloatArray:
    """The head in one contrast on the anatomy's own grid, (i, j, k).

    `unevenness` (i, j, k), around 1, stretches the shells so that no two skulls are equally thick.
    Painted slab by slab: the arrays in between then stay in the processor's cache.
    """
    picture = np.empty(head.shape, dtype=np.float32)
    for first in range(0, head.shape[0], SLAB):
        part = slice(first, first + SLAB)
        picture[part] = _painted(head.slab(part), bright, shells, unevenness[part])
    return picture


def brain_painted(head: Anatomy, bright: Brightness) -> FloatArray:
    """The brain and its fluid alone, nothing around it, (i, j, k); slab by slab as `painted`."""
    picture = np.empty(head.shape, dtype=np.float32)
    for first in range(0, head.shape[0], SLAB):
        part = slice(first, first + SLAB)
        picture[part] = _tissue(head.slab(part), bright)
    return picture


def _tissue(head: Anatomy, bright: Brightness) -> FloatArray:
    tissue = bright.white * head.white + bright.grey * head.grey + bright.fluid * head.fluid
    tissue *= head.texture if bright.texture == 1 else head.texture**bright.texture
    return np.asarray(tissue)


def _painted(
    head: Anatomy, bright: Brightness, shells: Shells, unevenness: FloatArray
) -> FloatArray:
    brain = np.minimum(head.white + head.grey + head.fluid, 1)
    around = _around(head, bright, shells, unevenness)
    return np.asarray(_tissue(head, bright) + (1 - brain) * around)


def thinned(head: Anatomy, factor: float) -> Anatomy:
    """The anatomy with `factor` of its grey matter left, the rest turned to fluid."""
    if factor == 1:
        return head
    lost = head.grey * np.float32(1 - factor) * (1 - head.white)
    return replace(head, grey=head.grey - lost, fluid=head.fluid + lost)


def varied(bright: Brightness, rng: Generator, *, spread: float) -> Brightness:
    """The same contrast from another scanner: every tissue brighter or darker by about `spread`."""
    tissues = [name for name in asdict(bright) if name != "texture"]
    factors = np.exp(rng.normal(0, spread, len(tissues)))
    scaled = {
        name: float(getattr(bright, name) * factor)
        for name, factor in zip(tissues, factors, strict=True)
    }
    return replace(bright, **scaled)


def _around(
    head: Anatomy, bright: Brightness, shells: Shells, unevenness: FloatArray
) -> FloatArray:
    """Fluid rim, bone with marrow, scalp, then soft tissue and eyes where there are some."""
    depth = head.distance / unevenness
    in_rim = _below(depth, shells.fluid)
    in_bone = _below(depth, shells.fluid + shells.bone)
    in_scalp = _below(depth, shells.fluid + shells.bone + shells.scalp)
    middle = shells.fluid + shells.bone / 2
    diploe = np.clip(shells.bone / 4 - np.abs(depth - middle), 0, 1)
    bone = bright.bone + (bright.marrow - bright.bone) * diploe
    below = _flesh(head, bright)
    fat = bright.fat * (in_scalp - in_bone) * (1 - head.soft_tissue)
    scalp = np.maximum(fat, (1 - in_bone) * below)
    return np.asarray(bright.fluid * in_rim + bone * (in_bone - in_rim) + scalp)


def _flesh(head: Anatomy, bright: Brightness) -> FloatArray:
    soft = bright.muscle * head.soft_tissue * (1 - head.eyes)
    return np.asarray(soft + bright.fluid * head.eyes)


def _below(depth: FloatArray, edge: float) -> FloatArray:
    """One where depth < edge, zero beyond, with an edge one voxel soft."""
    return np.asarray(np.clip(edge + 0.5 - depth, 0, 1))
