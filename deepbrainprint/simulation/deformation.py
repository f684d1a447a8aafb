"""Smooth random deformation: cubic B-spline control grids (Rueckert et al., IEEE TMI 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from deepbrainprint.records import AffineArray, FloatArray

# standard deviation of a 3-D cubic B-spline whose coefficients are unit white noise: (151/315)^1.5
SPLINE_SD = (151 / 315) ** 1.5


@dataclass(frozen=True)
class Lattice:
    """Regular points in RAS mm: `spacing` apart, from `origin`."""

    shape: tuple[int, int, int]
    origin: tuple[float, float, float]
    spacing: float


@dataclass(frozen=True)
class Displacement:
    """A vector field in mm; vectors (3, i, j, k), one per point of the lattice."""

    vectors: FloatArray
    lattice: Lattice

    def at(self, points: FloatArray) -> FloatArray:
        """Displacement in mm at `points` (3, …) in mm; outside, the edge value goes on."""
        origin = np.reshape(self.lattice.origin, (3,) + (1,) * (points.ndim - 1))
        index = (points - origin) / self.lattice.spacing
        return np.stack(
            [ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in self.vectors]
        )

    def moved(self, points: FloatArray) -> FloatArray:
        """The points (3, …) after the displacement."""
        return np.asarray(points + self.at(points), dtype=np.float32)


def random_scalar(
    rng: Generator, shape: tuple[int, int, int], *, knot_spacing: float
) -> FloatArray:
    """A smooth random field (i, j, k) of unit variance, a knot every `knot_spacing` voxels."""
    knots = tuple(int(np.ceil(size / knot_spacing)) + 3 for size in shape)
    field = rng.standard_normal(knots, dtype=np.float32) / np.float32(SPLINE_SD)
    for axis, size in enumerate(shape):
        weights = _spline_weights(size, knots[axis], knot_spacing)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.asarray(field, dtype=np.float32)


def random_displacement(
    rng: Generator, lattice: Lattice, *, knots_mm: float, sd_mm: float
) -> Displacement:
    """A smooth random vector field with `sd_mm` per component and a knot every `knots_mm`."""
    apart = knots_mm / lattice.spacing
    parts = [random_scalar(rng, lattice.shape, knot_spacing=apart) for _ in range(3)]
    return Displacement(np.stack(parts) * np.float32(sd_mm), lattice)


def stretched(coarse: FloatArray, shape: tuple[int, int, int]) -> FloatArray:
    """Trilinear enlargement (…, a, b, c) → (…, i, j, k): first and last samples stay in place."""
    *outer, a, b, c = coarse.shape
    first, second, third = map(_linear_weights, shape, (a, b, c))
    wide = second @ (coarse.astype(np.float32) @ third.T)  # (…, a, j, k)
    whole = first @ wide.reshape(*outer, a, -1)  # (…, i, j·k)
    return np.asarray(whole.reshape(*outer, *shape), dtype=np.float32)


def rotation(degrees: tuple[float, float, float]) -> AffineArray:
    """Rotation (3, 3) about the right, front and top axis, in that order."""
    x, y, z = np.deg2rad(degrees)
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.asarray(np.array(about_z) @ np.array(about_y) @ np.array(about_x), dtype=np.float64)


def _spline_weights(size: int, knots: int, spacing: float) -> FloatArray:
    """Cubic B-spline basis, (size, knots); each row sums to one."""
    apart = np.abs(np.arange(size)[:, None] / spacing + 1 - np.arange(knots)[None, :])
    near = 2 / 3 - apart**2 + apart**3 / 2
    far = np.maximum(2 - apart, 0) ** 3 / 6
    return np.where(apart < 1, near, far).astype(np.float32)


def _linear_weights(size: int, samples: int) -> FloatArray:
    position = np.linspace(0, samples - 1, size)[:, None]
    weights = np.maximum(1 - np.abs(position - np.arange(samples)[None, :]), 0)
    return np.asarray(weights, dtype=np.float32)
