"""How far two transforms are apart where the brain is.

Distances are in mm at points of the template's brain, as root mean square and largest; the first
is what Jenkinson (FMRIB TR99MJ1, 1999) proposed for comparing registrations.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from deepbrainprint.imaging import registration, template
from deepbrainprint.records import AffineArray

EVERY_MM = 6


@dataclass(frozen=True)
class Gap:
    """What lies between two transforms, as seen from the template."""

    rms_mm: float
    most_mm: float
    rigid_rms_mm: float  # of its rigid part: shift and turn
    rigid_most_mm: float
    scale: float  # of lengths, 1 is none: cube root of the determinant
    stretch: float  # largest stretch of any direction, 1 is none


@functools.cache
def brain_points() -> registration.Vector:
    """Points (n, 3) in RAS mm, `EVERY_MM` apart, over the template's brain."""
    index = np.argwhere(_mask()[::EVERY_MM, ::EVERY_MM, ::EVERY_MM]) * EVERY_MM
    return np.asarray(index + np.asarray(template.ORIGIN), dtype=np.float64)


@functools.cache
def _mask() -> registration.Array:
    return template.mask()


def moved(transform: AffineArray, points: registration.Vector) -> registration.Vector:
    """The points (n, 3) under a (4, 4) transform."""
    return np.asarray(points @ transform[:3, :3].T + transform[:3, 3])


def distances(first: AffineArray, second: AffineArray) -> tuple[float, float]:
    """Root mean square and largest distance, mm, between where two transforms put the brain."""
    return _lengths(moved(first, brain_points()) - moved(second, brain_points()))


def gap(first: AffineArray, second: AffineArray) -> Gap:
    """Compare two transforms from the template into ONE world."""
    between = np.linalg.inv(first) @ second  # template to template: the identity at best
    points, goal = brain_points(), moved(between, brain_points())
    rigid = _rigid(points, goal)
    stretches = np.linalg.svd(between[:3, :3], compute_uv=False)
    return Gap(
        *_lengths(goal - points),
        *_lengths(moved(rigid, points) - points),
        scale=float(np.prod(stretches) ** (1 / 3)),
        stretch=float(max(stretches[0], 1 / stretches[-1])),
    )


def _lengths(vectors: registration.Vector) -> tuple[float, float]:
    squares = (vectors**2).sum(axis=1)
    return float(np.sqrt(squares.mean())), float(np.sqrt(squares.max()))


def _rigid(points: registration.Vector, goal: registration.Vector) -> AffineArray:
    """The shift and turn that come closest to leading `points` to `goal` (Kabsch 1976)."""
    start, end = points.mean(axis=0), goal.mean(axis=0)
    left, _, right = np.linalg.svd((points - start).T @ (goal - end))
    proper = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    transform = np.eye(4)
    transform[:3, :3] = (left @ proper @ right).T
    transform[:3, 3] = end - transform[:3, :3] @ start
    return transform
