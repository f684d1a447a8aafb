"""One person's own tissues: the template's odds of grey, white and fluid, folded anew and aged.

The template averages 152 people, so its cortex is vague where people differ. Smooth noise on the
log odds decides there which tissue it is, once for each person: folds that nobody else has, and no
two halves alike. Ageing raises the odds of fluid: sulci widen, and cortex thins from outside.
All arrays are (i, j, k) over `BOX` of the template, 1 mm RAS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.random import Generator, default_rng
from scipy import ndimage

from deepbrainprint.records import AffineArray, FloatArray
from deepbrainprint.simulation.anatomy import Anatomy, anatomy
from deepbrainprint.simulation.contrasts import SLAB
from deepbrainprint.simulation.deformation import random_scalar, stretched
from deepbrainprint.simulation.heads import Head, person
from deepbrainprint.simulation.life import Life, State, life

BOX = (slice(20, 178), slice(20, 214), slice(30, 200))  # of the template: the brain
SMALLEST_SHARE = 1e-3  # of a tissue; logarithms end there
SHARPNESS = 1.6  # of one brain against the average of many
FOLD_KNOTS_MM, FOLD_SD = 5.0, 1.5  # of the log odds
DEEP_MM = (-36.0, -26.0)  # from the skull: no folds below the first, all above the second
STEM_MM = (-45.0, -30.0)  # height: no folds in the brainstem and below
TEXTURE_BLUR_MM = 1.5  # edges of the average are not those of a person
PATTERN_KNOTS, PATTERN_SD = (12, 12, 12), 0.35  # where more or less is lost
TEMPORAL_MM, TEMPORAL_RADIUS_MM = (26.0, -16.0, -20.0), 16.0
TEMPORAL_EXTRA = 4.66 / 1.41 - 1  # hippocampal loss a year, ill against well (Barnes et al., 2009)
MOST_ODDS = 6.0  # that loss gives to fluid: nothing dissolves where there never was any
ODDS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of fluid, raised so far to see what is lost
SPARSE = slice(None, None, 4)  # voxels that this is seen on, along each axis
SEX_SIZE = {"F": 0.982, "M": 1.019}  # men's heads hold 12 % more (Ruigrok et al., 2014)
DEEP_WHITE_MM, NEAR_VENTRICLES_MM = 4.0, 10.0  # from grey and fluid; how fast lesions get rarer


@dataclass(frozen=True)
class Tissues:
    """Fractions 0…1 of each tissue."""

    white: FloatArray
    grey: FloatArray
    fluid: FloatArray


@dataclass(frozen=True)
class Individual:
    """A generated person with a life; odds are natural logarithms against grey matter."""

    life: Life
    head: Head
    white_odds: FloatArray
    fluid_odds: FloatArray
    pattern: FloatArray  # of loss, around 1

    def tissues(self, state: State) -> Tissues:
        """The person's tissues in this state; slab by slab, which stays in the cache."""
        room, raised = _room(), self._odds_for(state.grey_lost)
        made = Tissues(*(np.empty(room.shape, dtype=np.float32) for _ in range(3)))
        for first in range(0, room.shape[0], SLAB):
            part = slice(first, first + SLAB), slice(None), slice(None)
            made.white[part], made.grey[part], made.fluid[part] = self._shares(part, raised)
        return made

    def _shares(
        self, part: tuple[slice, slice, slice], raised: float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """White, grey and fluid where the odds of fluid are raised, by place more or less."""
        gained = np.minimum(np.float32(raised) * self.pattern[part], MOST_ODDS)
        white, fluid = np.exp(self.white_odds[part]), np.exp(self.fluid_odds[part] + gained)
        grey = _room()[part] / (1 + white + fluid)
        return white * grey, grey, fluid * grey

    def _odds_for(self, grey_lost: float) -> float:
        """How far the odds of fluid must rise for this share of the grey matter to go."""
        sparse = (SPARSE, SPARSE, SPARSE)
        left = np.array([self._shares(sparse, raised)[1].sum() for raised in ODDS])
        return float(np.interp(grey_lost, 1 - left / left[0], ODDS))


def individual(seed: int) -> Individual:
    """The person of this number, the head as in `heads.person` but as large as the sex makes it."""
    lived = life(seed, lesion_sites())
    head = person(seed)
    rng = default_rng([seed, 11])
    white_odds, fluid_odds, folds = _odds()
    first, second = (
        FOLD_SD * random_scalar(rng, _room_shape(), knot_spacing=FOLD_KNOTS_MM) for _ in range(2)
    )
    return Individual(
        life=lived,
        head=replace(head, scale=head.scale / SEX_SIZE[lived.sex]),
        white_odds=white_odds + folds * first,
        fluid_odds=fluid_odds + folds * second,
        pattern=_pattern(rng, atrophic=lived.course.atrophic),
    )


@cache
def brain_box() -> Anatomy:
    """The template within BOX, its texture without the edges of the average brain."""
    whole = anatomy()
    return replace(
        whole,
        grey=np.ascontiguousarray(whole.grey[BOX]),
        white=np.ascontiguousarray(whole.white[BOX]),
        fluid=np.ascontiguousarray(whole.fluid[BOX]),
        texture=ndimage.gaussian_filter(whole.texture[BOX], TEXTURE_BLUR_MM),
        distance=np.ascontiguousarray(whole.distance[BOX]),
        soft_tissue=whole.soft_tissue[BOX],
        eyes=whole.eyes[BOX],
        affine=_box_affine(whole.affine),
    )


@cache
def lesion_sites() -> FloatArray:
    """Places (n, 3), template mm, in deep white matter; those near the ventricles come often."""
    box = brain_box()
    white = (box.white > 0.8) & (box.distance < -12)
    depth = ndimage.distance_transform_edt(white)
    ventricles = (box.fluid > 0.5) & (box.distance < -30)
    away = ndimage.distance_transform_edt(~ventricles)
    above_stem = _heights(box) > STEM_MM[1]
    chance = np.exp(-away / NEAR_VENTRICLES_MM) * (depth > DEEP_WHITE_MM) * above_stem
    drawn = default_rng(0).random(chance.shape, dtype=np.float32) < chance
    return np.asarray(np.argwhere(drawn) + box.affine[:3, 3], dtype=np.float32)


@cache
def _odds() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log odds of white and of fluid against grey, and how much a person's folds change them."""
    box = brain_box()
    white, grey, fluid = (
        np.log(np.maximum(part, SMALLEST_SHARE)) for part in (box.white, box.grey, box.fluid)
    )
    folds = _ramp(box.distance, DEEP_MM) * _ramp(_heights(box), STEM_MM)
    sharp = np.float32(SHARPNESS)
    return np.asarray(sharp * (white - grey)), np.asarray(sharp * (fluid - grey)), folds


@cache
def _room() -> FloatArray:
    """What of each voxel is inside the skull."""
    box = brain_box()
    return np.asarray(np.minimum(box.grey + box.white + box.fluid, 1))


def _room_shape() -> tuple[int, int, int]:
    return brain_box().shape


def _pattern(rng: Generator, *, atrophic: bool) -> FloatArray:
    """Where loss is more or less than usual; disease takes most from the temporal lobes within."""
    coarse = 1 + PATTERN_SD * random_scalar(rng, PATTERN_KNOTS, knot_spacing=4)
    pattern = np.maximum(stretched(coarse, _room_shape()), 0.1)
    return np.asarray(pattern + TEMPORAL_EXTRA * _temporal() if atrophic else pattern)


@cache
def _temporal() -> FloatArray:
    """One in the middle of each medial temporal lobe, falling off as a Gaussian."""
    affine = brain_box().affine
    right, front, top = (
        np.arange(size) + affine[axis, 3] for axis, size in enumerate(_room_shape())
    )
    x, y, z = TEMPORAL_MM
    squares = (
        ((np.abs(right) - x) ** 2)[:, None, None]
        + ((front - y) ** 2)[None, :, None]
        + ((top - z) ** 2)[None, None, :]
    )
    return np.asarray(np.exp(-squares / (2 * TEMPORAL_RADIUS_MM**2)), dtype=np.float32)


def _heights(box: Anatomy) -> FloatArray:
    """Template mm (1, 1, k) of each slice."""
    heights = np.arange(box.shape[2]) + box.affine[2, 3]
    return np.asarray(heights[None, None, :], dtype=np.float32)


def _ramp(values: FloatArray, edges: tuple[float, float]) -> FloatArray:
    low, high = edges
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), dtype=np.float32)


def _box_affine(affine: AffineArray) -> AffineArray:
    moved = affine.copy()
    moved[:3, 3] += [part.start for part in BOX]
    return moved
