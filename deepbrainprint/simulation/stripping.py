"""The mask that a skull stripper would have found: nearly right, never twice the same."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from deepbrainprint.records import FloatArray, MaskArray
from deepbrainprint.simulation.anatomy import COARSE_MM, anatomy
from deepbrainprint.simulation.deformation import Lattice, random_scalar, stretched

CLOSING_MM = 5.0  # sulci narrower than twice this are inside the mask
OFFSET_MM, OFFSET_SD_MM = 0.6, 0.6  # how far outside the pia a stripper cuts
ROUGHNESS_MM = 0.7  # standard deviation of its edge
ROUGH_KNOTS, ROUGH_SPACING = (24, 24, 24), 2
NECK_MM, NECK_SD_MM = -70.0, 4.0  # template height where the stem is cut off
SLIP_CHANCE, SLIP_MM = 0.15, (2.0, 5.0)  # a place where it cut too deep or not deep enough
SLIP_RADIUS = 0.15  # of the box


@cache
def pia() -> tuple[FloatArray, Lattice]:
    """Signed distance in mm from the closed surface of the template's brain, positive outside."""
    whole = anatomy()
    step = slice(None, None, COARSE_MM)
    brain = (whole.grey + whole.white)[step, step, step] > 0.5
    pad, reach = 6, CLOSING_MM / COARSE_MM
    grown = ndimage.distance_transform_edt(~np.pad(brain, pad, mode="edge")) <= reach
    closed = ndimage.distance_transform_edt(grown) > reach
    signed = ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)
    inner = slice(pad, -pad)
    distance = ndimage.gaussian_filter(signed * float(COARSE_MM), 0.7)[inner, inner, inner]
    shape = (brain.shape[0], brain.shape[1], brain.shape[2])
    return distance.astype(np.float32), Lattice(shape, whole.origin, COARSE_MM)


def brain_depth(points: FloatArray) -> FloatArray:
    """Mm outside the brain (a, b, c) at template mm (3, a, b, c); negative inside."""
    distance, lattice = pia()
    index = (points - np.reshape(lattice.origin, (3, 1, 1, 1))) / lattice.spacing
    depth = ndimage.map_coordinates(distance, index, order=1, mode="nearest")
    return np.asarray(np.maximum(depth, NECK_MM - points[2]), dtype=np.float32)


def found_mask(depth: FloatArray, rng: Generator, shape: tuple[int, int, int]) -> MaskArray:
    """The mask (i, j, k) of `shape` that is found where the coarse `depth` (a, b, c) is measured.

    The edge wanders by `ROUGHNESS_MM`; now and then a patch is cut too deep or left on.
    """
    offset = float(rng.normal(OFFSET_MM, OFFSET_SD_MM))
    rough = ROUGHNESS_MM * random_scalar(rng, ROUGH_KNOTS, knot_spacing=ROUGH_SPACING)
    edge = offset + rough + _slip(rng)
    wander = stretched(edge, (depth.shape[0], depth.shape[1], depth.shape[2]))
    return np.asarray(stretched(depth - wander, shape) < 0)


def _slip(rng: Generator) -> FloatArray:
    """Mm by which the edge is off around one place, (24, 24, 24); mostly none."""
    slips, place = rng.random() < SLIP_CHANCE, rng.uniform(0, 1, 3)
    depth = float(rng.choice((-1, 1)) * rng.uniform(*SLIP_MM))
    if not slips:
        return np.zeros(ROUGH_KNOTS, dtype=np.float32)
    ticks = np.meshgrid(*(np.linspace(0, 1, size) for size in ROUGH_KNOTS), indexing="ij")
    squares = sum((tick - at) ** 2 for tick, at in zip(ticks, place, strict=True))
    return np.asarray(depth * np.exp(-squares / (2 * SLIP_RADIUS**2)), dtype=np.float32)
