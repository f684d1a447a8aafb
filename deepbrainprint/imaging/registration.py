"""Finding the affine transform between two brains: mutual information with priors.

The transform is y = exp(L) (x − c) + c + t: a translation and the exponential of a 3×3 matrix L,
whose antisymmetric part turns, whose trace scales and whose remaining five parameters stretch and
shear. Written so, a prior on scale or shear is a quadratic term that does not depend on the pose
(statistics on the affine group: Arsigny et al., SIAM J Matrix Anal Appl 2007;29:328).

The loss is minus Mattes' mutual information (IEEE Trans Med Imaging 2003;22:120; cubic Parzen
windows in the moving intensity), which needs no assumption on the contrast, plus the squared
difference of the two brain outlines, plus the priors. Points that fall outside the scan's field of
view do not take part, so that missing slices do not stretch the brain. It has an exact gradient,
so that L-BFGS needs few evaluations; all sums run in one thread in one order, so that the same
input gives the same bits. Where there is a CUDA device the sums over points are made on it
(`imaging.cuda`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from deepbrainprint.imaging import cuda
from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import AffineArray, FloatArray, MaskArray, Volume

Vector = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int_]
Array = npt.NDArray[Any]

BINS = 32
TINY = 1e-12
WORKING_MM = 2.5  # resolution of the search; the result is resampled from the full one
MARGIN_MM = 30.0
EVENING_MM = 22.0
FWHM = 2.355  # width at half height of a Gaussian, in standard deviations
RIM_MM = 10.0  # how far around the brain points are compared
RADIUS = 60.0  # mm: makes one unit of a matrix parameter move the cortex as far as one mm does

RIGID, SIMILAR, AFFINE = 6, 7, 12  # leading parameters that a stage may change


def _generators() -> Vector:
    """Return the basis (9, 3, 3) of L: three rotations, scale, then stretch and shear."""
    basis = np.zeros((9, 3, 3))
    for k, (i, j) in enumerate(((2, 1), (0, 2), (1, 0))):
        basis[k, i, j], basis[k, j, i] = 1, -1
        basis[6 + k, i, j] = basis[6 + k, j, i] = np.sqrt(0.5)
    basis[3] = np.eye(3) / np.sqrt(3)
    basis[4] = np.diag([1, -1, 0]) / np.sqrt(2)
    basis[5] = np.diag([1, 1, -2]) / np.sqrt(6)
    return basis


GENERATORS = _generators()
# how far the search may go: 200 mm, half a turn, a factor of two
REACH = [(-200.0, 200.0)] * 3 + [(-3.2 * RADIUS, 3.2 * RADIUS)] * 3 + [(-RADIUS, RADIUS)] * 6


@dataclass(frozen=True)
class Prior:
    """What is known of scale and shape before looking: one figure for each of the generators 3…8.

    `expected` are coefficients, that of the scale √3 times its logarithm; weights are in nats per
    unit squared.
    """

    expected: tuple[float, ...] = (0.0,) * 6
    weights: tuple[float, ...] = (0.0,) * 6
    outline_weight: float = 0.7


@dataclass(frozen=True, eq=False)
class Target:
    """What is aligned to: sample points (n, 3) in RAS mm with intensity bin and outline (n,)."""

    points: Vector
    bins: npt.NDArray[np.intp]
    outline: Vector


@dataclass(frozen=True, eq=False)
class Source:
    """What is moved: values (i·j·k, 2) of intensity (in bins) and outline, on a lattice."""

    values: FloatArray
    shape: tuple[int, int, int]
    world_to_voxel: AffineArray


def thinned(volume: Volume, mask: MaskArray) -> tuple[Volume, FloatArray]:
    """Return the brain, evened, in voxels of about WORKING_MM, and its outline, both 0…1.

    What is far from the brain is cut off; MARGIN_MM of empty space stay, unless the field of view
    ends before that.
    """
    size = spacing(volume.affine)
    block = np.maximum(1, np.round(WORKING_MM / size)).astype(int)
    low, count = _crop(mask, np.ceil(MARGIN_MM / size).astype(int), block)
    box = tuple(slice(a, a + n * b) for a, n, b in zip(low, count, block, strict=True))
    lowest, highest = np.percentile(volume.data[mask], (1, 99))
    data = np.clip((volume.data[box] - lowest) / max(highest - lowest, 1e-6), 0, 1) * mask[box]
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = np.diag(block), low + (block - 1) / 2
    affine, outline = volume.affine @ step, averaged(mask[box], block)
    return Volume(evened(averaged(data, block), outline, spacing(affine)), affine), outline


def evened(data: FloatArray, outline: FloatArray, size: Vector) -> FloatArray:
    """Divide by the local mean within the brain, over EVENING_MM; the result is 0…1 inside.

    Shading of the receive coil is smooth and goes; the edges that alignment lives on stay.
    """
    sigma = EVENING_MM / FWHM / size
    local, inside = (
        ndimage.gaussian_filter(part, sigma, truncate=3, mode="constant")
        for part in (data, outline)
    )
    # the least mean keeps rims and voids from being blown up
    even = np.where(outline > 0, data / np.maximum(local / np.maximum(inside, 1e-3), 0.05), 0)
    top = max(float(np.percentile(even[outline > 0.5], 99)), 1e-6)
    result: FloatArray = np.clip(even / top, 0, 1).astype(np.float32)
    return result


def _crop(mask: MaskArray, margin: Whole, block: Whole) -> tuple[Whole, Whole]:
    """Return the first voxel (3,) of the box around `mask` and how many blocks (3,) it holds."""
    found = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    low = np.maximum(0, np.array([f[0] for f in found]) - margin)
    high = np.minimum(mask.shape, np.array([f[-1] + 1 for f in found]) + margin)
    return low, (high - low) // block


def averaged(data: Array, block: Sequence[int] | Whole) -> FloatArray:
    """Return the means over blocks of voxels; `data` must hold whole blocks."""
    for axis, n in enumerate(block):
        parts = (*data.shape[:axis], data.shape[axis] // n, n, *data.shape[axis + 1 :])
        data = data.reshape(parts).mean(axis=axis + 1, dtype=np.float32)
    return data.astype(np.float32)


def target(brain: Volume, outline: FloatArray, *, mm: float) -> Target:
    """Sample a thinned brain and a rim around it, every `mm` millimetres or so."""
    size = spacing(brain.affine)
    step = np.maximum(1, np.round(mm / size)).astype(int)
    lattice = tuple(slice(s // 2, None, s) for s in step)
    rim = ndimage.distance_transform_edt(outline < 0.5, sampling=size) <= RIM_MM
    chosen = rim[lattice]
    index = np.argwhere(chosen) * step + step // 2
    values, soft = _binned(_blurred(brain.data, size, mm)), _blurred(outline, size, mm)
    return Target(
        index @ brain.affine[:3, :3].T + brain.affine[:3, 3],
        np.rint(values[lattice][chosen]).astype(np.intp),
        soft[lattice][chosen].astype(np.float64),
    )


def source(brain: Volume, outline: FloatArray, *, mm: float) -> Source:
    """Blur a thinned brain to a resolution of `mm`."""
    size = spacing(brain.affine)
    values, soft = _binned(_blurred(brain.data, size, mm)), _blurred(outline, size, mm)
    x, y, z = brain.data.shape
    to_voxel: AffineArray = np.linalg.inv(brain.affine).astype(np.float64)
    return Source(np.stack([values, soft], axis=-1).reshape(-1, 2), (x, y, z), to_voxel)


def _blurred(data: FloatArray, size: Vector, mm: float) -> FloatArray:
    """Gaussian blur from voxels of `size` to a resolution (FWHM) of `mm`."""
    sigma = np.sqrt(np.maximum(mm**2 - size**2, 0)) / FWHM / size
    smooth: FloatArray = ndimage.gaussian_filter(data, sigma, truncate=3, mode="nearest")
    return smooth


def _binned(data: FloatArray) -> FloatArray:
    """Scale 0…1 to bins, leaving room at both ends for the window around a value."""
    return 1 + (BINS - 3) * data / max(float(data.max()), 1e-6)


def matrix(parameters: Vector, centre: Vector, offset: Vector) -> AffineArray:
    """Return the (4, 4) transform, target mm to source mm, of twelve `parameters`."""
    linear = exponential(np.tensordot(parameters[3:] / RADIUS, GENERATORS, 1))
    transform = np.eye(4)
    transform[:3, :3] = linear
    transform[:3, 3] = centre + offset + parameters[:3] - linear @ centre
    return transform


def exponential(square: Vector) -> Vector:
    """Return the matrix exponential, by scaling, Taylor series and squaring.

    Written out because LAPACK threads, as SciPy's version starts them even for a 3×3 matrix, make
    each call wait on a machine that is busy with other studies.
    """
    halvings = max(0, math.ceil(math.log2(max(float(np.abs(square).sum()), 1e-9))) + 1)
    small = square / 2.0**halvings  # norm at most 1/2: twelve terms are exact to rounding
    total = term = np.eye(len(square))
    for k in range(1, 13):
        term = term @ small / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def exponential_pulled(square: Vector, moment: Vector) -> Vector:
    """Return the gradient by `square` of the product sum of its exponential and `moment`.

    The derivative of exp stands in the corner of the exponential of a block matrix (Van Loan,
    IEEE Trans Automat Contr 1978;23:395), and its adjoint is the derivative at the transposed.
    """
    n = len(square)
    block = np.zeros((2 * n, 2 * n))
    block[:n, :n] = block[n:, n:] = square.T
    # only linear in the corner: its size must not add squarings
    size = max(float(np.abs(moment).max()), 1e-30)
    block[:n, n:] = moment / size
    return exponential(block)[:n, n:] * size


@dataclass(frozen=True)
class Sums:
    """What the comparison of all points comes to, and how it changes as points move."""

    mismatch: float  # minus the information in nats, plus the difference of outlines
    pull: Vector  # (3,) derivative by a shift, mm
    moment: Vector  # (3, 3) derivative by the linear part, mm, of points about the centre


@dataclass(frozen=True)
class Problem:
    """One resolution of the search: what to compare, and around which centre."""

    target: Target
    source: Source
    prior: Prior
    centre: Vector  # (3,) RAS mm in the target
    offset: Vector  # (3,) mm from the target's centre to the source's
    turn: AffineArray = field(default_factory=lambda: np.eye(4))  # of the source, RAS mm

    def loss(self, parameters: Vector) -> tuple[float, Vector]:
        """Return the loss and its gradient (12,) at `parameters`."""
        transform = matrix(parameters, self.centre, self.offset)
        sums = self._sums(transform)
        penalty, tug = self._penalty(parameters)
        exponent = np.tensordot(parameters[3:] / RADIUS, GENERATORS, 1)
        pulled = exponential_pulled(exponent, sums.moment)
        slope = np.concatenate([sums.pull, np.tensordot(GENERATORS, pulled, 2) / RADIUS])
        return sums.mismatch + penalty, slope + tug

    def _sums(self, transform: AffineArray) -> Sums:
        if device := cuda.device():
            return Sums(*cuda.summed(self, transform, BINS, device))
        to_voxel = self.source.world_to_voxel @ self.turn
        values, slopes, weight = lookup(self.source, self.target.points, to_voxel @ transform)
        information, pull = mutual_information(self.target.bins, values[:, 0], weight)
        gap = (values[:, 1] - self.target.outline) * weight
        share = self.prior.outline_weight / max(float(weight.sum()), 1.0)
        force = -pull[:, None] * slopes[:, 0] + 2 * share * gap[:, None] * slopes[:, 1]
        by_mm = _rows_times(force, to_voxel[:3, :3])
        moment = np.einsum("ni,nj->ij", by_mm, self.target.points - self.centre)
        mismatch = -information + share * float(np.square(gap).sum())
        return Sums(mismatch, by_mm.sum(axis=0), moment)

    def _penalty(self, parameters: Vector) -> tuple[float, Vector]:
        weight = np.concatenate([np.zeros(RIGID), self.prior.weights])
        gap = parameters / RADIUS - np.concatenate([np.zeros(RIGID), self.prior.expected])
        return float(weight @ gap**2), 2 * weight * gap / RADIUS

    def solve(self, start: Vector, free: int, iterations: int) -> tuple[float, Vector]:
        """Minimise over the first `free` parameters from `start`; return loss and parameters."""

        def reduced(head: Vector) -> tuple[float, Vector]:
            value, gradient = self.loss(np.concatenate([head, start[free:]]))
            return value, gradient[:free]

        found = optimize.minimize(
            reduced, start[:free], jac=True, method="L-BFGS-B", bounds=REACH[:free],
            options={"maxiter": iterations},
        )  # fmt: skip
        return float(found.fun), np.concatenate([found.x, start[free:]])


def lookup(
    source: Source, points: Vector, to_voxel: AffineArray
) -> tuple[FloatArray, FloatArray, Vector]:
    """Trilinear values (n, 2) where `to_voxel` takes `points`, slopes (n, 2, 3), weights (n,).

    Slopes are by voxel. The weight falls from 1 to 0 over one voxel beyond the field of view; that
    change is not part of the slopes.
    """
    position = _rows_times(points, to_voxel[:3, :3].T) + to_voxel[:3, 3]
    last = np.array(source.shape) - 1
    weight = np.clip(np.minimum(position, last - position) + 1, 0, 1).min(axis=1)
    inside = np.clip(position, 0, last)
    low = np.minimum(inside.astype(np.intp), last - 1)
    values, slopes = _trilinear(source, low, (inside - low).astype(np.float32))
    slopes *= (inside == position).all(axis=1)[:, None, None]
    return values, slopes, weight


def _rows_times(rows: Vector, square: Vector) -> Vector:
    """Matrix product (n, 3) × (3, 3) in one thread: BLAS threads crawl on a busy machine."""
    product: Vector = np.einsum("ni,ij->nj", rows, square)
    return product


def _trilinear(source: Source, low: Whole, part: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Interpolate between the eight voxels from `low` (n, 3) up; slopes are by voxel."""
    row, column = source.shape[2], source.shape[1] * source.shape[2]
    flat = low[:, 0] * column + low[:, 1] * row + low[:, 2]
    x, y, z = part[:, :1], part[:, 1:2], part[:, 2:]
    value: list[FloatArray] = []  # along x, for the four edges (y, z) = 00, 10, 01, 11
    rise: list[FloatArray] = []
    for edge in (0, row, 1, row + 1):
        near, far = source.values[flat + edge], source.values[flat + edge + column]
        rise.append(far - near)
        value.append(near + x * rise[-1])
    below, above = value[0] + y * (value[1] - value[0]), value[2] + y * (value[3] - value[2])
    by_x = _between(_between(rise[0], rise[1], y), _between(rise[2], rise[3], y), z)
    by_y = _between(value[1] - value[0], value[3] - value[2], z)
    return _between(below, above, z), np.stack([by_x, by_y, above - below], axis=-1)


def _between(first: FloatArray, second: FloatArray, part: FloatArray) -> FloatArray:
    return first + part * (second - first)


def mutual_information(bins: Whole, values: FloatArray, weight: Vector) -> tuple[float, Vector]:
    """Return the information in nats and its derivative (n,) by each moving value.

    `bins` (n,) are those of the fixed image, `values` (n,) are in bins of the moving one.
    """
    total = max(float(weight.sum()), 1e-9)
    low: Whole = np.clip(values.astype(np.intp), 1, BINS - 3)
    window, slope = _cubic_window((values - low).astype(np.float64))
    cells = bins * BINS + low - 1 + np.arange(4)[:, None]  # (4, n) in the joint histogram
    mass = np.bincount(cells.ravel(), (window * weight).ravel(), minlength=BINS * BINS)
    joint = mass.reshape(BINS, BINS) / total
    fixed, moving = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    information = float((joint * np.log((joint + TINY) / (fixed * moving + TINY))).sum())
    surprise = np.log((joint + TINY) / (moving + TINY)).ravel()
    return information, (slope * surprise[cells]).sum(axis=0) * weight / total


def _cubic_window(part: Vector) -> tuple[Vector, Vector]:
    """Return weights (4, n) of the cubic B-spline at the bins around a value, and their slopes."""
    f, g = part, 1 - part
    weights = [g**3, 4 - 3 * f**2 * (2 - f), 4 - 3 * g**2 * (2 - g), f**3]
    slopes = [-(g**2), f * (3 * f - 4), g * (4 - 3 * g), f**2]
    return np.stack(weights) / 6, np.stack(slopes) / 2
