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
input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize
from scipy.linalg import expm, expm_frechet

from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import AffineArray, FloatArray, MaskArray, Volume

Vector = npt.NDArray[np.float64]

BINS = 32
WORKING_MM = 2.5  # resolution of the search; the result is resampled from the full one
MARGIN_MM = 30.0
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


@dataclass(frozen=True)
class Prior:
    """What is known of the transform before looking. Weights are in nats per unit squared."""

    scale: float = 0.0  # expected coefficient of the scale generator: √3 · log of the scale
    scale_weight: float = 0.5
    shape_weight: float = 2.0  # of stretch and shear together
    outline_weight: float = 0.5


@dataclass(frozen=True)
class Target:
    """What is aligned to: sample points (n, 3) in RAS mm with intensity bin and outline (n,)."""

    points: Vector
    bins: npt.NDArray[np.intp]
    outline: Vector


@dataclass(frozen=True)
class Source:
    """What is moved: values (i·j·k, 2) of intensity (in bins) and outline, on a lattice."""

    values: FloatArray
    shape: tuple[int, int, int]
    world_to_voxel: AffineArray


def thinned(volume: Volume, mask: MaskArray) -> tuple[Volume, FloatArray]:
    """Crop to the brain and average blocks of voxels to about WORKING_MM; outline likewise, 0…1.

    Cropping leaves MARGIN_MM of empty space, unless the field of view ends before that.
    """
    size = spacing(volume.affine)
    block = np.maximum(1, np.round(WORKING_MM / size)).astype(int)
    margin = np.ceil(MARGIN_MM / size).astype(int)
    found = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {k}))) for k in range(3)]
    low = np.array([max(0, f[0] - m) for f, m in zip(found, margin, strict=True)])
    high = np.array([f[-1] + 1 + m for f, m in zip(found, margin, strict=True)])
    high = np.minimum(high, mask.shape)
    count = (high - low) // block
    box = tuple(slice(a, a + n * b) for a, n, b in zip(low, count, block, strict=True))
    lowest, highest = np.percentile(volume.data[mask], (1, 99))
    data = np.clip((volume.data[box] - lowest) / max(highest - lowest, 1e-6), 0, 1) * mask[box]
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = np.diag(block), low + (block - 1) / 2
    return Volume(_averaged(data, block), volume.affine @ step), _averaged(mask[box], block)


def _averaged(data: npt.NDArray[np.generic], block: npt.NDArray[np.int_]) -> FloatArray:
    """Return the mean over blocks of voxels."""
    for axis, n in enumerate(block):
        parts = data.shape[:axis] + (data.shape[axis] // n, n) + data.shape[axis + 1 :]
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
    return Source(
        np.stack([values, soft], axis=-1).reshape(-1, 2), brain.data.shape, np.linalg.inv(brain.affine)
    )


def _blurred(data: FloatArray, size: Vector, mm: float) -> FloatArray:
    """Gaussian blur from voxels of `size` to a resolution (FWHM) of `mm`."""
    sigma = np.sqrt(np.maximum(mm**2 - size**2, 0)) / 2.355 / size
    return ndimage.gaussian_filter(data, sigma, truncate=3, mode="nearest")


def _binned(data: FloatArray) -> FloatArray:
    """Scale to 1…BINS − 2, so that a cubic window around any value stays inside the histogram."""
    high = max(float(data.max()), 1e-6)
    return 1 + (BINS - 3) * data / high


def matrix(parameters: Vector, centre: Vector, offset: Vector) -> AffineArray:
    """Return the (4, 4) transform, target mm to source mm, of twelve `parameters`."""
    linear = expm(np.tensordot(parameters[3:] / RADIUS, GENERATORS, 1))
    transform = np.eye(4)
    transform[:3, :3] = linear
    transform[:3, 3] = centre + offset + parameters[:3] - linear @ centre
    return transform


@dataclass(frozen=True)
class Problem:
    """One resolution of the search: what to compare, and around which centre."""

    target: Target
    source: Source
    prior: Prior
    centre: Vector  # (3,) RAS mm in the target
    offset: Vector  # (3,) mm from the target's centre to the source's

    def loss(self, parameters: Vector) -> tuple[float, Vector]:
        """Return the loss and its gradient (12,) at `parameters`."""
        transform = matrix(parameters, self.centre, self.offset)
        values, slopes, weight = lookup(self.source, self.target.points, transform)
        information, pull = mutual_information(self.target.bins, values[:, 0], weight)
        gap = (values[:, 1] - self.target.outline) * weight
        total = max(weight.sum(), 1.0)
        force = -pull[:, None] * slopes[0]
        force += (2 * self.prior.outline_weight / total * gap)[:, None] * slopes[1]
        penalty, tug = self._prior(parameters)
        gradient = self._chain(parameters, force) + tug
        outline = self.prior.outline_weight * float(gap @ gap) / total
        return -information + outline + penalty, gradient

    def _chain(self, parameters: Vector, force: Vector) -> Vector:
        """Gather the pull (n, 3) on all points into the twelve parameters."""
        moment = force.T @ (self.target.points - self.centre)
        exponent = np.tensordot(parameters[3:] / RADIUS, GENERATORS, 1)
        # the adjoint of the derivative of exp at L is the derivative at L transposed
        pulled = expm_frechet(exponent.T, moment, compute_expm=False)
        return np.concatenate([force.sum(axis=0), np.tensordot(GENERATORS, pulled, 2) / RADIUS])

    def _prior(self, parameters: Vector) -> tuple[float, Vector]:
        weight = np.zeros(12)
        weight[6], weight[7:] = self.prior.scale_weight, self.prior.shape_weight
        gap = parameters / RADIUS
        gap[6] -= self.prior.scale
        return float(weight @ gap**2), 2 * weight * gap / RADIUS

    def solve(self, start: Vector, free: int, iterations: int) -> tuple[float, Vector]:
        """Minimise over the first `free` parameters from `start`; return loss and parameters."""

        def reduced(head: Vector) -> tuple[float, Vector]:
            value, gradient = self.loss(np.concatenate([head, start[free:]]))
            return value, gradient[:free]

        found = optimize.minimize(
            reduced, start[:free], jac=True, method="L-BFGS-B", options={"maxiter": iterations}
        )
        return float(found.fun), np.concatenate([found.x, start[free:]])


def lookup(
    source: Source, points: Vector, transform: AffineArray
) -> tuple[FloatArray, tuple[Vector, Vector], Vector]:
    """Trilinear values (n, 2) of `source` at transformed `points`, slopes (n, 3) each, weights (n,).

    The weight falls from 1 to 0 over one voxel beyond the field of view.
    """
    to_voxel = source.world_to_voxel @ transform
    position = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    last = np.array(source.shape) - 1
    weight = np.clip(np.minimum(position, last - position) + 1, 0, 1).min(axis=1)
    inside = np.clip(position, 0, last)
    low = np.minimum(inside.astype(np.intp), last - 1)
    f = (inside - low).astype(np.float32)
    stride = np.array([source.shape[1] * source.shape[2], source.shape[2], 1])
    flat = low @ stride
    corner = {
        (a, b, c): source.values[flat + (a * stride[0] + b * stride[1] + c)]
        for a in (0, 1) for b in (0, 1) for c in (0, 1)
    }  # fmt: skip
    x, y, z = f[:, :1], f[:, 1:2], f[:, 2:]
    edge = {(b, c): corner[0, b, c] + x * (corner[1, b, c] - corner[0, b, c]) for b in (0, 1) for c in (0, 1)}
    rise = {(b, c): corner[1, b, c] - corner[0, b, c] for b in (0, 1) for c in (0, 1)}
    front = edge[0, 0] + y * (edge[1, 0] - edge[0, 0])
    back = edge[0, 1] + y * (edge[1, 1] - edge[0, 1])
    dx0 = rise[0, 0] + y * (rise[1, 0] - rise[0, 0])
    dx1 = rise[0, 1] + y * (rise[1, 1] - rise[0, 1])
    dy0, dy1 = edge[1, 0] - edge[0, 0], edge[1, 1] - edge[0, 1]
    dz = back - front
    value = front + z * dz
    slope = np.stack([dx0 + z * (dx1 - dx0), dy0 + z * (dy1 - dy0), dz], axis=-1)  # (n, 2, 3)
    world = slope @ source.world_to_voxel[:3, :3].astype(np.float32)
    world *= (inside == position).all(axis=1)[:, None, None]
    return value, (world[:, 0], world[:, 1]), weight


def mutual_information(bins, values, weight) -> tuple[float, Vector]:
    """Return the information in nats and its derivative (n,) by each moving value."""
    low = np.clip(np.floor(values).astype(np.intp), 1, BINS - 3)
    f = (values - low).astype(np.float64)
    g = 1 - f
    kernel = np.stack([g**3 / 6, 2 / 3 - f**2 * (2 - f) / 2, 2 / 3 - g**2 * (2 - g) / 2, f**3 / 6])
    slope = np.stack([-(g**2) / 2, f * (1.5 * f - 2), -g * (1.5 * g - 2), f**2 / 2])
    cell = bins * BINS + low - 1  # first of four neighbouring cells
    cells = cell + np.arange(4)[:, None]
    joint = np.bincount(cells.ravel(), (kernel * weight).ravel(), minlength=BINS * BINS)
    joint = joint.reshape(BINS, BINS) / max(weight.sum(), 1e-9)
    fixed, moving = joint.sum(axis=1), joint.sum(axis=0)
    tiny = 1e-12
    ratio = np.log((joint + tiny) / (fixed[:, None] * moving + tiny))
    surprise = np.log((joint + tiny) / (moving + tiny))
    pull = (slope * surprise.ravel()[cells]).sum(axis=0) * weight / max(weight.sum(), 1e-9)
    return float((joint * ratio).sum()), pull


def check_gradient() -> None: ...
