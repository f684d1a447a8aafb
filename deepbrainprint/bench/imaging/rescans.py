"""A scan of someone who was positioned anew: another pose, other voxels, shading and noise.

The pose is known, so it is known where the brain must be found again. Shading and noise are
BrainWeb's usual ones (Cocosco et al., NeuroImage 1997;5:S425): 20 % and 3 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from deepbrainprint.imaging import registration, volume
from deepbrainprint.records import AffineArray, FloatArray, MaskArray, Volume
from deepbrainprint.simulation.acquisition import Grid, Triple
from deepbrainprint.simulation.deformation import random_scalar, stretched

SHADING = 0.1  # half of the 20 % between the darkest and the brightest place
NOISE = 0.03  # of the brightest tissue
MARGIN_MM = 8.0
_COARSE = (10, 10, 10)


@dataclass(frozen=True)
class Positioning:
    """How the head lies this time, and in which voxels it is seen."""

    pose: AffineArray  # (4, 4), mm of the first scan's world to mm of this one's
    voxel_mm: Triple
    order: tuple[int, int, int]  # the RAS axis that each axis of the file runs along
    signs: tuple[int, int, int]  # −1: the axis of the file runs the other way


def positioned(rng: Generator, turn: AffineArray, shift_mm: float, voxel_mm: Triple) -> Positioning:
    """Draw a shift of up to `shift_mm` along each axis and the order in which voxels are stored."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, rng.uniform(-shift_mm, shift_mm, 3)
    order, signs = rng.permutation(3), rng.choice((-1, 1), 3)
    return Positioning(
        pose,
        voxel_mm,
        (int(order[0]), int(order[1]), int(order[2])),
        (int(signs[0]), int(signs[1]), int(signs[2])),
    )


def turned(rng: Generator, degrees: float) -> AffineArray:
    """A turn (3, 3) of up to `degrees` about any axis."""
    axis = rng.normal(size=3)
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    x, y, z = axis / np.linalg.norm(axis) * angle
    turn: AffineArray = registration.exponential(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    return turn


def rescanned(
    scan: Volume, mask: MaskArray, how: Positioning, rng: Generator, *, spline: int = 3
) -> Volume:
    """See a brain without skull again; zero outside the brain, as a stripped scan is.

    Each voxel averages samples about 1 mm apart, interpolated by splines of order `spline`. The
    turn is about the middle of the brain.
    """
    target = _grid(scan, mask, how)
    fine = target.finer()
    to_scan = np.linalg.inv(scan.affine) @ np.linalg.inv(about(how.pose, scan, mask)) @ fine.affine
    seen = target.averaged(_sampled(scan.data, to_scan, fine.shape, spline))
    inside = target.averaged(_sampled(mask.astype(np.float32), to_scan, fine.shape, 1)) > 0.5
    top = float(np.percentile(seen[inside], 98))
    field = np.clip(
        1 + SHADING / 2 * stretched(_field(rng), target.shape), 1 - SHADING, 1 + SHADING
    )
    noise = rng.standard_normal(target.shape, dtype=np.float32) * NOISE * top
    data = np.where(inside, np.maximum(seen * field + noise, 0.001 * top), 0)
    return Volume(data.astype(np.float32), target.affine)


def about(pose: AffineArray, scan: Volume, mask: MaskArray) -> AffineArray:
    """The pose turned about the middle of the brain instead of the world's origin."""
    centre = (scan.affine @ [*ndimage.center_of_mass(mask[::4, ::4, ::4]), 0.25])[:3] * 4
    whole = pose.copy()
    whole[:3, 3] += centre - pose[:3, :3] @ centre
    return whole


def through_file(scan: Volume, how: Positioning, path: Path) -> Volume:
    """Store `scan` in another order of voxels and read it as any study's file is read."""
    order = list(how.order)
    flip = np.eye(4)[[*order, 3]].T
    data = scan.data.transpose(order)
    for axis, sign in enumerate(how.signs):
        if sign < 0:
            data = np.flip(data, axis)
            turn = np.eye(4)
            turn[axis, axis], turn[axis, 3] = -1, data.shape[axis] - 1
            flip = flip @ turn
    volume.write(Volume(np.ascontiguousarray(data), scan.affine @ flip), path)
    return volume.read(path)


def _grid(scan: Volume, mask: MaskArray, how: Positioning) -> Grid:
    """Voxels around the brain as it lies now, axes along the scanner's."""
    pose = about(how.pose, scan, mask)
    found = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    ends = [(float(f[0]), float(f[-1])) for f in found]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    placed = np.c_[corners, np.ones(8)] @ (pose @ scan.affine).T
    low, high = placed[:, :3].min(axis=0) - MARGIN_MM, placed[:, :3].max(axis=0) + MARGIN_MM
    edges = np.array(how.voxel_mm)
    shape = np.ceil((high - low) / edges).astype(int)
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = low
    samples = np.maximum(1, np.round(edges)).astype(int)
    return Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        affine,
        (int(samples[0]), int(samples[1]), int(samples[2])),
    )


def _sampled(
    data: FloatArray, to_scan: AffineArray, shape: tuple[int, int, int], spline: int
) -> FloatArray:
    moved = ndimage.affine_transform(
        data, to_scan[:3, :3], to_scan[:3, 3], output_shape=shape, order=spline, output=np.float32
    )
    return np.asarray(moved)


def _field(rng: Generator) -> FloatArray:
    return random_scalar(rng, _COARSE, knot_spacing=5)
