"""What disease, treatment and a bad day at the scanner do to a scan of a head.

Each takes a scan and its brain mask, (i, j, k), and gives the scan changed; places are given as a
share of the brain's box along each axis, 0 to 1, right, front and top being 1 in RAS order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import default_rng
from scipy import ndimage

from deepbrainprint.records import FloatArray, MaskArray, Volume
from deepbrainprint.simulation.artefacts import moved_during_scan, noisy, shaded

Place = tuple[float, float, float]
PUSH = 0.4  # radii that tissue at the edge is pushed; what was further in is replaced
MIDDLE: Place = (0.5, 0.5, 0.55)


def smaller(scan: Volume, factor: float) -> Volume:
    """Return the head of a child: every length times `factor`."""
    return replace(scan, affine=scan.affine @ np.diag([factor, factor, factor, 1.0]))


def mass(
    scan: Volume, mask: MaskArray, *, place: Place, radius_mm: float, brightness: float
) -> Volume:
    """Return the scan with a tumour that pushes tissue aside.

    `brightness` runs from 0, the darkest in the brain, to 1, the brightest, and may exceed it.
    """
    away, steps = _from(scan, mask, place, (radius_mm,) * 3)
    return _grown(scan, mask, away, steps, brightness)


def wide_ventricles(scan: Volume, mask: MaskArray, *, width_mm: float, fluid: float) -> Volume:
    """Return the scan with two lateral ventricles, each `width_mm` wide; 8 mm is usual."""
    for side in (0.36, 0.64):
        radii = (width_mm / 2, 20 + width_mm / 2, 10 + width_mm / 2)
        away, steps = _from(scan, mask, (side, 0.5, 0.6), radii)
        scan = _grown(scan, mask, away, steps, fluid)
    return scan


def resection(
    scan: Volume, mask: MaskArray, *, place: Place, radius_mm: float, fluid: float
) -> Volume:
    """Return the scan with a part of the brain gone and fluid in its place."""
    away, _ = _from(scan, mask, place, (radius_mm,) * 3)
    return _filled(scan, mask, (away < 1) & mask, fluid)


def void(scan: Volume, mask: MaskArray, *, place: Place, radius_mm: float) -> Volume:
    """Return the scan with the hole and the bright rim that metal leaves."""
    away, _ = _from(scan, mask, place, (radius_mm,) * 3)
    rim = 1 + 1.5 * np.exp(-(((away - 1) / 0.12) ** 2))
    return replace(scan, data=(scan.data * np.where(away < 1, 0, rim)).astype(np.float32))


def cut(scan: Volume, mask: MaskArray, *, top: float = 0.0, bottom: float = 0.0) -> Volume:
    """Return the scan without `top` and `bottom` shares of its slices of brain, and beyond."""
    planes = np.flatnonzero(mask.any(axis=(0, 1)))
    below, above = round(bottom * len(planes)), round(top * len(planes))
    first = int(planes[below]) if below else 0
    last = int(planes[-above]) if above else scan.data.shape[2]
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    return Volume(np.ascontiguousarray(scan.data[:, :, first:last]), affine)


def degraded(
    scan: Volume, *, seed: int, bias: float = 0.0, motion: float = 0.0, noise: float = 0.0
) -> Volume:
    """Return the scan with `bias`, `motion` and `noise` as in `heads.Conditions` added."""
    rng = default_rng([seed, 7])
    bright = float(np.percentile(scan.data, 99))
    image = moved_during_scan(scan.data, rng, shift_voxels=motion)
    image = noisy(shaded(image / bright, rng, strength=bias), rng, sd=noise)
    return replace(scan, data=(image * bright).astype(np.float32))


def _from(
    scan: Volume, mask: MaskArray, place: Place, radii_mm: Place
) -> tuple[FloatArray, FloatArray]:
    """Return how many radii each voxel is from `place`, and the voxels (3, …) that lie between."""
    found = np.argwhere(mask)
    low, high = found.min(axis=0), found.max(axis=0)
    centre = low + np.array(place) * (high - low)
    steps = (np.indices(mask.shape) - centre[:, None, None, None]).astype(np.float32)
    size = np.linalg.norm(scan.affine[:3, :3], axis=0) / np.array(radii_mm)
    return np.sqrt(((steps * size[:, None, None, None]) ** 2).sum(axis=0)), steps


def _grown(
    scan: Volume, mask: MaskArray, away: FloatArray, steps: FloatArray, brightness: float
) -> Volume:
    """Push what is around a place outwards, less with distance, and fill the room."""
    pushed = PUSH * np.exp(1 - np.maximum(away, 1)) / np.maximum(away, 1) * mask
    index = np.indices(mask.shape) - steps * pushed
    moved = ndimage.map_coordinates(scan.data, index, order=1, mode="nearest")
    return _filled(replace(scan, data=moved), mask, (away < 1) & mask, brightness)


def _filled(scan: Volume, mask: MaskArray, where: MaskArray, brightness: float) -> Volume:
    dark, bright = np.percentile(scan.data[mask], (2, 98))
    soft = ndimage.gaussian_filter(where.astype(np.float32), 0.7)
    filling = dark + brightness * (bright - dark)
    return replace(scan, data=(scan.data * (1 - soft) + filling * soft).astype(np.float32))
