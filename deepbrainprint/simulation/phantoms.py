"""A quality phantom: the bottle that hospitals scan every week and call MPRAGE all the same."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator, default_rng

from deepbrainprint.records import FloatArray, Volume
from deepbrainprint.simulation.acquisition import Protocol, grid
from deepbrainprint.simulation.artefacts import noisy, shaded

RADIUS_MM, HALF_LENGTH_MM = 85.0, 75.0
FILLING, PLASTIC, OIL = 0.8, 0.02, 1.2
HOLE_PITCH_MM, HOLE_RADIUS_MM = 20.0, 4.0
NOISE, SHADING = 0.02, 0.1


def phantom(seed: int, protocol: Protocol | None = None) -> Volume:
    """A water bottle with a plate of holes, four vials and an air bubble; no brain.

    Data (column, row, slice) float32 from 0 to about 1.3, affine to RAS mm.
    """
    rng = default_rng([seed, 3])
    target = grid(protocol or Protocol(), centre_mm=(0.0, 0.0, 0.0))
    x, y, z = target.points()
    image = _bottle(x, y, z) * np.where(_plate(x, y, z), PLASTIC, FILLING)
    image = np.where(_vials(rng, x, y, z), OIL, image) * (y < _bubble_height(rng))
    image = shaded(image.astype(np.float32), rng, strength=SHADING)
    return Volume(noisy(image, rng, sd=NOISE), target.affine)


def _bottle(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """One inside an upright cylinder with soft edges."""
    side = np.clip(RADIUS_MM - np.hypot(x, y) + 0.5, 0, 1)
    return np.asarray(side * np.clip(HALF_LENGTH_MM - np.abs(z) + 0.5, 0, 1), dtype=np.float32)


def _plate(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Where the two plastic plates with their grid of holes are."""
    offsets = [
        np.mod(axis + HOLE_PITCH_MM / 2, HOLE_PITCH_MM) - HOLE_PITCH_MM / 2 for axis in (x, y)
    ]
    solid = np.hypot(*offsets) > HOLE_RADIUS_MM
    return np.asarray(solid & (np.abs(np.abs(z) - HALF_LENGTH_MM / 2) < 4))


def _vials(rng: Generator, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Where four oil-filled spheres sit, off the centre."""
    inside = np.zeros(x.shape, dtype=bool)
    for angle in rng.uniform(0, 2 * np.pi) + np.arange(4) * np.pi / 2:
        across, along = 45 * np.cos(angle), 45 * np.sin(angle)
        inside |= (x - across) ** 2 + (y - along) ** 2 + z**2 < rng.uniform(8, 14) ** 2
    return np.asarray(inside)


def _bubble_height(rng: Generator) -> float:
    """Front-back mm above which there is air."""
    return float(rng.uniform(0.75, 0.9) * RADIUS_MM)
