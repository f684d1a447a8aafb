"""Ventricles of any width: points flow along the template's pull, so that nothing ever folds."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from deepbrainprint.records import FloatArray
from deepbrainprint.simulation.anatomy import COARSE_MM, anatomy
from deepbrainprint.simulation.deformation import Displacement, Lattice
from deepbrainprint.simulation.heads import USUAL_SIZE

STEP_MM = 2.0  # of the flow
WEAKEST = 1e-3  # pull that counts
DEEP_MM = -30.0  # from the skull
BLUR_MM = 6.0  # how far around a ventricle tissue gives way
# cisterns as deep as ventricles, in the middle: below the floor, or behind and below the roof
MIDDLE_MM, FLOOR_MM, BEHIND_MM, ROOF_MM = 13.0, -8.0, -24.0, 14.0
# what the template's ventricles (23 ml) gain when their walls are pulled so far, and what that is
# in a head of usual size, shorter by a tenth: measured by summing the fluid of `_ventricles`
WIDTH_MM = (-1.5, 0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 16.0)
GAINED_IN_TEMPLATE_ML = (-4.6, 0.0, 3.6, 8.0, 17.6, 28.0, 38.6, 49.1, 63.8, 77.0)
GAINED_ML = tuple(USUAL_SIZE**3 * gained for gained in GAINED_IN_TEMPLATE_ML)


def width_for(gained_ml: float, own_mm: float = 0.0) -> float:
    """How far to pull the walls, mm, of ventricles that were `own_mm` wide and grow by so much.

    Beyond the table its end.
    """
    own_ml = float(np.interp(own_mm, WIDTH_MM, GAINED_ML))
    return float(np.interp(own_ml + gained_ml, GAINED_ML, WIDTH_MM))


def pulled(points: FloatArray, width_mm: float) -> FloatArray:
    """Template mm (3, …) of what lies at `points` when the ventricles are wider by `width_mm`.

    Negative widths make them narrower.
    """
    steps = max(1, int(np.ceil(abs(width_mm) / STEP_MM)))
    moved = np.array(points, dtype=np.float32)
    near = np.abs(_pull().at(points)).max(axis=0) > WEAKEST  # the rest would stay where it is
    flowing = moved[:, near]
    for _ in range(steps):
        flowing = flowing + np.float32(width_mm / steps) * _pull().at(flowing)
    moved[:, near] = flowing
    return moved


@cache
def _pull() -> Displacement:
    """Towards the lateral and third ventricles, 1 mm where it is strongest."""
    fluid = _ventricles()
    smooth = ndimage.gaussian_filter(fluid, BLUR_MM / COARSE_MM)
    pull = np.stack(np.gradient(smooth))
    shape = (fluid.shape[0], fluid.shape[1], fluid.shape[2])
    lattice = Lattice(shape, anatomy().origin, COARSE_MM)
    return Displacement((pull / np.linalg.norm(pull, axis=0).max()).astype(np.float32), lattice)


def _ventricles() -> FloatArray:
    """Their fluid, 0…1, on the coarse grid, without the cisterns."""
    whole = anatomy()
    step = slice(None, None, COARSE_MM)
    deep = (whole.fluid * (whole.distance < DEEP_MM))[step, step, step]
    right, front, top = (
        np.reshape(
            np.arange(size) * COARSE_MM + whole.origin[axis],
            [-1 if axis == other else 1 for other in range(3)],
        )
        for axis, size in enumerate(deep.shape)
    )
    low = (top < FLOOR_MM) | ((front < BEHIND_MM) & (top < ROOF_MM))
    return np.asarray(deep * ~((np.abs(right) < MIDDLE_MM) & low), dtype=np.float32)
