"""Brains to encode: the template, warped and painted anew for each, as an encoder reads it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deepbrainprint.imaging import template
from deepbrainprint.records import GRID_SHAPE, ByteArray, FloatArray, InputForm

KNOTS = (6, 7, 6)  # of the warp, spread over the grid: 36 mm apart
WARP_MM = 5.0  # standard deviation at a knot
OUTSIDE = 0.15  # of the brightest; below it the warped template holds no brain


def generated(form: InputForm, people: int, seed: int) -> ByteArray:
    """Views (people, *form.shape) uint8, 0 outside the brain; every one another brain."""
    generator = np.random.default_rng(seed)
    brain = (template.reference().data * template.mask()).astype(np.float32)
    lattice = positions(form)
    bright = brain / brain.max()
    return np.stack([_one(bright, lattice, generator) for _ in range(people)])


def positions(form: InputForm) -> FloatArray:
    """Where on the grid each number of a view is sampled: (3, *form.shape) voxels x, y, z."""
    step = form.step_mm
    x, y, z = (np.arange(n // step) * step + (step - 1) / 2 for n in GRID_SHAPE)
    if form.kind == "planes":
        z = np.array(form.planes)
    height, right, front = np.meshgrid(z, x, y, indexing="ij")
    return np.stack([right, front, height]).astype(np.float32)


def _one(bright: FloatArray, lattice: FloatArray, generator: np.random.Generator) -> ByteArray:
    """One brain (Z or P, X, Y): its shape from a warp, its contrast from a random curve."""
    levels = ndimage.map_coordinates(bright, lattice + _warp(lattice, generator), order=1)
    gamma, floor, turned = generator.uniform(0.5, 2), generator.uniform(0, 0.3), generator.random()
    painted = floor + (1 - floor) * levels**gamma
    if turned < 0.5:  # as in T2w, what was bright is dark
        painted = 1 - 0.8 * painted
    inside = levels > OUTSIDE
    return np.where(inside, 1 + np.clip(painted, 0, 1) * 254, 0).astype(np.uint8)


def _warp(lattice: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Shifts (3, …) in mm, linear between knots."""
    at = lattice * [[[[(k - 1) / n]]] for k, n in zip(KNOTS, GRID_SHAPE, strict=True)]
    shifts = generator.normal(0, WARP_MM, (3, *KNOTS)).astype(np.float32)
    moved = [ndimage.map_coordinates(shift, at, order=1, mode="nearest") for shift in shifts]
    return np.stack(moved)
