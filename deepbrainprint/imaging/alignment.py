"""A brain on the reference grid, and the figures that say how well it lies there."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from deepbrainprint.imaging import outline, pose, registration, shading, template
from deepbrainprint.imaging.registration import (
    AFFINE,
    SIMILAR,
    Prior,
    Problem,
    Target,
    Vector,
)
from deepbrainprint.imaging.resampling import resampled
from deepbrainprint.imaging.volume import voxel_ml
from deepbrainprint.records import (
    AffineArray,
    ByteArray,
    FloatArray,
    MaskArray,
    Volume,
)

# Scale and shape of 44 scans of 37 people relative to the template, which is larger than most:
# mean, and standard deviation of the natural logarithms along each generator.
USUAL = (-0.19, 0.0, 0.03, 0.0, 0.0, 0.0)
SPREAD = (0.075, 0.035, 0.03, 0.02, 0.01, 0.012)


def _costing(nats: float) -> Prior:
    """Return the prior in which one standard deviation along a generator costs `nats`."""
    return Prior(USUAL, tuple(nats / spread**2 for spread in SPREAD))


# A whole brain shows its shape itself. One that the field of view cuts could be larger or longer,
# and many starts have to be told apart before it is known what is cut.
WHOLE, CUT = _costing(0.0012), _costing(0.0036)
# resolution in mm, free parameters, most iterations
STAGES = ((8.0, SIMILAR, 40), (6.0, AFFINE, 40), (4.0, AFFINE, 25), (3.0, AFFINE, 15))
DOUBTED_MM = 6.0  # beside a cut


@dataclass(frozen=True)
class Alignment:
    """A brain on the reference grid and how well it lies there."""

    brain: ByteArray  # (182, 218, 182) RAS; 1…255 inside the brain, 0 outside
    transform: AffineArray  # (4, 4), RAS mm of the template to RAS mm of the scan
    residual: float  # 0…1, share of the template's variance that the scan does not explain
    scale: float  # determinant of the transform: brain volume relative to the template's
    mask_ml: float  # volume of the brain mask before alignment, millilitres
    quality: dict[str, float]  # see imaging.quality


def align(brain: Volume, mask: MaskArray, transform: AffineArray | None = None) -> Alignment:
    """Align `brain`, inside `mask`, to the reference grid, by `transform` where it is known.

    `brain` may still hold the skull: what lies outside `mask` is ignored. Values inside lose their
    shading and are scaled so that their 1st and 99th percentile become 1 and 255. Same input, same
    result, bit for bit.
    """
    transform = find(brain, mask) if transform is None else transform
    data, inside, seen = on_grid(brain, mask, transform)
    even, steepness = shading.evened(data, inside)
    pixels = _scaled(even, inside)
    scale = float(np.linalg.det(transform[:3, :3]))
    mask_ml = float(mask.sum() * voxel_ml(brain.affine))
    stretches = np.linalg.svd(transform[:3, :3], compute_uv=False)
    unexplained = residual(pixels, seen)
    figures = {
        "mask_ml": mask_ml,
        "scale": scale,
        "stretch": float(stretches[0] / stretches[-1]),
        "residual": unexplained,
        "overlap": _overlap(inside, seen),
        "coverage": float(seen[template.mask()].mean()),
        "shading": steepness,
    }
    return Alignment(pixels, transform, unexplained, scale, mask_ml, figures)


def find(brain: Volume, mask: MaskArray) -> AffineArray:
    """Return the transform (4, 4), RAS mm of the template to RAS mm of `brain`.

    The best start of many (`imaging.pose`) is refined: rigid with one scale first, then all
    twelve parameters.
    """
    centre = centroid(template.mask(), template.affine())
    pivot = centroid(mask, brain.affine)
    ends = outline.planes_at_cuts(mask, brain.affine, DOUBTED_MM)
    thinned = registration.thinned(*_without(ends, brain, mask))
    source = functools.cache(lambda mm: registration.source(*thinned, mm=mm))

    def problem(mm: float, turn: AffineArray, prior: Prior = CUT) -> Problem:
        return Problem(_target(mm), source(mm), prior, centre, pivot - centre, turn)

    start = pose.found(problem, pivot, USUAL[0])
    parameters, prior = start.parameters, CUT if any(map(any, ends)) else WHOLE
    for mm, free, iterations in STAGES:
        _, parameters = problem(mm, start.turn, prior).solve(parameters, free, iterations)
    return start.turn @ registration.matrix(parameters, centre, pivot - centre)


def _without(
    ends: list[tuple[int, int]], brain: Volume, mask: MaskArray
) -> tuple[Volume, MaskArray]:
    """Leave off the planes next to where the field of view cuts the brain: its mask errs there."""
    box = tuple(slice(a, n - b) for (a, b), n in zip(ends, mask.shape, strict=True))
    if outline.millilitres(mask[box], brain.affine) < outline.millilitres(mask, brain.affine) / 2:
        return brain, mask  # a slab: doubtful planes are better than none
    shift = np.eye(4)
    shift[:3, 3] = [a for a, _ in ends]
    return Volume(brain.data[box], brain.affine @ shift), mask[box]


def on_grid(
    brain: Volume, mask: MaskArray, transform: AffineArray
) -> tuple[FloatArray, MaskArray, MaskArray]:
    """Resample to the grid: values, brain mask, field of view; each (182, 218, 182)."""
    grid = template.reference()
    inside = resampled(Volume(mask.astype(np.float32), brain.affine), grid, transform) > 0.5
    seen = resampled(Volume(np.ones_like(brain.data), brain.affine), grid, transform) > 0.5
    return resampled(brain, grid, transform), inside, seen


def residual(pixels: ByteArray, seen: MaskArray) -> float:
    """Return the share of the template's variance that `pixels` leave unexplained, 0…1.

    One minus the correlation ratio (Roche et al., MICCAI 1998, LNCS 1496:1115) of blocks of 4 mm
    where the scan was `seen`, over 32 bins of the scan's intensity: the same for every contrast.
    """
    where = template.blocks(template.mask() & seen) > 0.5
    if not where.any():
        return 1.0
    expected = template.blocks(template.reference().data)[where]
    bins = (template.blocks(pixels)[where] / 8).astype(np.intp)
    mean = np.bincount(bins, expected, minlength=32) / np.maximum(
        np.bincount(bins, minlength=32), 1
    )
    return float(((expected - mean[bins]) ** 2).mean() / max(float(expected.var()), 1e-9))


def _overlap(inside: MaskArray, seen: MaskArray) -> float:
    """Return the Dice overlap with the template's brain where the scan was `seen`."""
    expected = template.mask() & seen
    total = int(expected.sum()) + int(inside.sum())
    return 2 * float((expected & inside).sum()) / max(total, 1)


@functools.cache
def _target(mm: float) -> Target:
    return registration.target(*_thinned_template(), mm=mm)


@functools.cache
def _thinned_template() -> tuple[Volume, FloatArray]:
    return registration.thinned(template.reference(), template.mask())


def centroid(mask: MaskArray, affine: AffineArray) -> Vector:
    """Return the centre of gravity (3,) of `mask` in RAS mm."""
    counts = [mask.sum(axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    index = np.array([np.average(np.arange(len(c)), weights=c) for c in counts])
    centre: Vector = affine[:3, :3] @ index + affine[:3, 3]
    return centre


def _scaled(data: FloatArray, inside: MaskArray) -> ByteArray:
    """Map the 1st…99th percentile inside to 1…255, clipped and rounded; 0 outside."""
    pixels = np.zeros(data.shape, dtype=np.uint8)
    if inside.any():
        values = data[inside]
        low, high = np.percentile(values, (1, 99))
        stretched = 1 + 254 * (values - low) / max(float(high - low), 1e-6)
        pixels[inside] = np.clip(stretched, 1, 255).round()
    return pixels
