"""A brain on the reference grid, and the figures that say how well it lies there."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from deepbrainprint.imaging import registration, template
from deepbrainprint.imaging.registration import AFFINE, RIGID, SIMILAR, Prior, Problem, Target, Vector
from deepbrainprint.imaging.volume import spacing, voxel_ml
from deepbrainprint.records import AffineArray, ByteArray, FloatArray, MaskArray, Volume

THREADS = 2
LPS = np.diag([-1.0, -1.0, 1.0])  # ITK's world runs left, back, top
# log of the typical size of a head relative to the template, which is larger than most
PRIOR = Prior(scale=float(np.sqrt(3) * np.log(0.9)))
PITCHES = (-0.4, -0.2, 0.0, 0.2, 0.4)  # radians: heads nod more than they turn
COARSE_MM = 8.0
STAGES = ((8.0, SIMILAR, 40), (6.0, AFFINE, 40), (4.0, AFFINE, 25))


@dataclass(frozen=True)
class Alignment:
    """A brain on the reference grid and how well it lies there."""

    brain: ByteArray  # (182, 218, 182) RAS; 1…255 inside the brain, 0 outside
    transform: AffineArray  # (4, 4), RAS mm of the template to RAS mm of the scan
    residual: float  # 0…1, share of the template's variance that the scan does not explain
    scale: float  # determinant of the transform: brain volume relative to the template's
    mask_ml: float  # volume of the brain mask before alignment, millilitres
    quality: dict[str, float] = field(default_factory=dict)


def align(brain: Volume, mask: MaskArray) -> Alignment:
    """Align `brain`, inside `mask`, to the reference grid.

    `brain` may still hold the skull: what lies outside `mask` is ignored. Same input, same result,
    bit for bit.
    """
    transform = find(brain, mask)
    aligned, inside, covered = _resample(brain, mask, transform)
    pixels = np.where(inside, _bytes(aligned, inside), 0).astype(np.uint8)
    explained = correlation_ratio(pixels, covered & template.mask())
    return Alignment(
        brain=pixels,
        transform=transform,
        residual=1 - explained,
        scale=float(np.linalg.det(transform[:3, :3])),
        mask_ml=float(mask.sum() * voxel_ml(brain.affine)),
        quality={"covered": float(covered[template.mask()].mean())},
    )


def find(brain: Volume, mask: MaskArray) -> AffineArray:
    """Return the transform (4, 4), RAS mm of the template to RAS mm of `brain`."""
    centre = _centroid(template.mask(), template.affine())
    offset = _centroid(mask, brain.affine) - centre
    thinned = registration.thinned(brain, mask)
    problem = Problem(
        _target(COARSE_MM), registration.source(*thinned, mm=COARSE_MM), PRIOR, centre, offset
    )
    found = [problem.solve(_nodded(pitch), SIMILAR, 20) for pitch in PITCHES]
    parameters = min(found, key=lambda pair: pair[0])[1]
    for mm, free, n in STAGES:
        source = registration.source(*thinned, mm=mm)
        problem = Problem(_target(mm), source, PRIOR, centre, offset)
        _, parameters = problem.solve(parameters, free, n)
    return registration.matrix(parameters, centre, offset)


def correlation_ratio(pixels: ByteArray, where: MaskArray) -> float:
    """Return how much of the template's variance `pixels` explain, 0…1, whatever their contrast.

    Correlation ratio of Roche et al. (MICCAI 1998, LNCS 1496:1115) over 64 intensity bins.
    """
    expected = template.reference().data[where].astype(np.float64)
    bins = pixels[where] >> 2
    count = np.bincount(bins, minlength=64)
    mean = np.bincount(bins, expected, minlength=64) / np.maximum(count, 1)
    return float(1 - ((expected - mean[bins]) ** 2).mean() / expected.var())


@functools.cache
def _target(mm: float) -> Target:
    return registration.target(*_template(), mm=mm)


@functools.cache
def _template() -> tuple[Volume, FloatArray]:
    return registration.thinned(template.reference(), template.mask())


def _nodded(pitch: float) -> Vector:
    start = np.zeros(AFFINE)
    start[3] = pitch * registration.RADIUS
    start[6] = PRIOR.scale * registration.RADIUS
    return start


def _centroid(mask: MaskArray, affine: AffineArray) -> Vector:
    index = np.array([np.average(np.arange(n), weights=mask.sum(axis=tuple({0, 1, 2} - {k}))) for k, n in enumerate(mask.shape)])
    return affine[:3, :3] @ index + affine[:3, 3]


def _bytes(data: FloatArray, mask: MaskArray) -> FloatArray:
    """Map the 1st…99th percentile of `data` inside `mask` to 1…255, clipped and rounded."""
    low, high = np.percentile(data[mask], (1, 99)) if mask.any() else (0.0, 1.0)
    scaled = 1 + 254 * (data - low) / max(float(high - low), 1e-6)
    return np.clip(scaled, 1, 255).round()


def _image(data, affine: AffineArray) -> sitk.Image:
    size = spacing(affine)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    image.SetSpacing(size.tolist())
    image.SetOrigin((LPS @ affine[:3, 3]).tolist())
    image.SetDirection((LPS @ affine[:3, :3] / size).ravel().tolist())
    return image


def _resample(brain: Volume, mask: MaskArray, transform: AffineArray):
    grid = _image(template.reference().data, template.affine())
    moved = sitk.AffineTransform(3)
    moved.SetMatrix((LPS @ transform[:3, :3] @ LPS).ravel().tolist())
    moved.SetTranslation((LPS @ transform[:3, 3]).tolist())

    def on_grid(data: FloatArray) -> FloatArray:
        image = sitk.Resample(_image(data, brain.affine), grid, moved, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        return sitk.GetArrayFromImage(image).transpose(2, 1, 0)

    whole = on_grid(np.ones_like(brain.data)) > 0.5
    return on_grid(brain.data), on_grid(mask.astype(np.float32)) > 0.5, whole
