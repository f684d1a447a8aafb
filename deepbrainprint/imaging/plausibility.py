"""Whether what was aligned is a brain: figures, bounds, and a sentence for each doubt.

| figure    | what                                                                         |
|-----------|------------------------------------------------------------------------------|
| structure | fine structure of the template that the scan leaves unexplained, 0 best      |
| overlap   | Dice of the aligned mask and the template's brain, where the scan reaches    |
| scale     | volume of the brain relative to the template's                               |
| stretch   | largest over smallest stretch of the alignment                               |

`structure` is to fine detail what `alignment.residual` is to the whole: shading, and everything
wider than DETAIL_MM, are taken away first, so that the bright rim and dark middle that all round
things share with a brain explain nothing. It is one minus the correlation ratio (Roche et al.,
MICCAI 1998), the same for every contrast, in the best of the brain's eighths: a tumour, a
resection, wide ventricles or a missing slab spoil some, and what is no brain fits in none.

Measured. Real scans in voxels of 0.9 to 5 mm: structure 0.54 to 0.71 (15 T1w), 0.80 to 0.88 (7 T2w
of 5 mm slices), 0.80 (2 FLAIR), overlap 0.94 to 0.97. A T1w and a FLAIR scan shaded, noisy, moved,
cut by 30 or 40 % at the top or bottom, shrunk to a child's, with tumours, resections and metal
voids painted in, and a T2w scan with part of these: 0.49 to 0.88, overlap 0.87 to 0.97. With two
lateral ventricles of 24 mm each 0.74 to 0.85, of 40 mm each 0.94 to 0.95 with an overlap of 0.96.
Painted fruit, phantoms, knees, abdomens, eggs with the layers of a head and noise: 0.94 to 0.99,
overlap 0.79 to 0.91; a slab of gel 0.90 to 0.98, 0.67 to 0.68.

The bounds were set on those cases. Of 12 others (new seeds, other people) 11 were judged right; a
T2w scan of 5 mm slices without its upper 35 %, aligned 16 mm off by itself, was refused (0.93,
0.87).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepbrainprint.imaging import registration, template
from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.records import ByteArray, FloatArray, MaskArray

DETAIL_MM = 24.0  # width at half height of the Gaussian that is taken away
LEAST_SHARE = 0.5  # of a block must be brain
BINS = 12  # of equally many blocks
LEAST_BLOCKS = 400  # seen and inside both brains; an eighth has about 3,000
MOST_UNLIKE = 0.90  # structure from which it is no brain
MOST_UNLIKE_IN_SHAPE = 0.97  # the same where the outline is a brain's, unusual until there
IN_SHAPE, LEAST_OVERLAP = 0.94, 0.75
SCALES = (0.15, 1.7)  # from a newborn, a slab missing, to beyond any adult
MOST_STRETCH = 1.6


class Level(StrEnum):
    """How far a doubt goes."""

    FLAG = "flag"
    FAIL = "fail"


@dataclass(frozen=True)
class Doubt:
    """One figure that is out of bounds."""

    level: Level
    name: str  # of the flag; `not_a_brain` for all that fail
    figure: str
    value: float
    bound: float
    sentence: str


def judge(figures: Mapping[str, float]) -> list[Doubt]:
    """Return the doubts whether a scan with these figures is a brain, the gravest first."""
    return sorted(_doubts(figures), key=lambda doubt: doubt.level is Level.FLAG)


def described(alignment: Alignment) -> Alignment:
    """Return `alignment` with its structure added to its figures."""
    figures = {**alignment.quality, "structure": structure(alignment.brain)}
    return replace(alignment, quality=figures)


def structure(pixels: ByteArray) -> float:
    """Return the share of the template's fine structure that an aligned brain leaves unexplained.

    `pixels` (182, 218, 182) are 0 where there is no brain or none was seen; only what is inside
    is compared, in the eighth of the brain that fits best. 1 is nothing in common.
    """
    if not pixels.any():
        return 1.0
    found, inside = _detail(pixels, pixels > 0)
    expected, wanted = _template()
    explained = [0.0]
    for eighth in _eighths():
        where = inside & wanted & eighth
        if where.sum() >= LEAST_BLOCKS:
            explained.append(_explained(found[where], expected[where]))
    return 1 - max(explained)


def _doubts(figures: Mapping[str, float]) -> Iterator[Doubt]:
    scale, stretch = figures.get("scale", 1.0), figures.get("stretch", 1.0)
    unlike, overlap = figures.get("structure", 0.0), figures.get("overlap", 1.0)
    own_shape = overlap >= IN_SHAPE and not figures.get("mask_borrowed")  # else it says nothing
    most = MOST_UNLIKE_IN_SHAPE if own_shape else MOST_UNLIKE
    if unlike > most:
        what = (
            f"{unlike:.2f} of a brain's fine structure is not in it, at most {most:.2f} is a brain"
        )
        yield _failed("structure", unlike, most, what)
    elif unlike > MOST_UNLIKE:
        sentence = f"{unlike:.2f} of a brain's fine structure is not in it"
        yield Doubt(Level.FLAG, "unusual_structure", "structure", unlike, MOST_UNLIKE, sentence)
    if overlap < LEAST_OVERLAP:
        what = f"its outline overlaps a brain's by a Dice of {overlap:.2f}"
        yield _failed("overlap", overlap, LEAST_OVERLAP, what)
    if not SCALES[0] <= scale <= SCALES[1]:
        bound = SCALES[0] if scale < SCALES[0] else SCALES[1]
        yield _failed("scale", scale, bound, f"it is {scale:.2f} times as large as a usual brain")
    if stretch > MOST_STRETCH:
        what = f"it had to be stretched {stretch:.2f} times more one way than another"
        yield _failed("stretch", stretch, MOST_STRETCH, what)


def _failed(figure: str, value: float, bound: float, what: str) -> Doubt:
    sentence = f"it does not look like a brain: {what}"
    return Doubt(Level.FAIL, "not_a_brain", figure, value, bound, sentence)


def _explained(values: FloatArray, expected: FloatArray) -> float:
    """Return the correlation ratio of `expected` (n,) given `values` (n,), 0…1."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, values)
    count = np.maximum(np.bincount(bins, minlength=BINS), 1)
    mean = np.bincount(bins, expected, minlength=BINS) / count
    return 1 - float(np.square(expected - mean[bins]).mean() / max(float(expected.var()), 1e-9))


@functools.cache
def _eighths() -> list[MaskArray]:
    """Cut the template's brain in two along each axis, by equal volume."""
    brain = _template()[1]
    index = np.indices(brain.shape)
    upper = [index[axis] >= np.median(index[axis][brain]) for axis in range(3)]
    sides = product((False, True), repeat=3)
    return [np.all([u == s for u, s in zip(upper, side, strict=True)], axis=0) for side in sides]


@functools.cache
def _template() -> tuple[FloatArray, MaskArray]:
    return _detail(template.reference().data, template.mask())


def _detail(data: npt.NDArray[Any], mask: MaskArray) -> tuple[FloatArray, MaskArray]:
    """Return what is finer than DETAIL_MM in blocks of an evened brain, and which hold brain.

    Blocks hold means over the brain in them: else the outline would count as structure.
    """
    share = template.blocks(mask)
    brain: MaskArray = share >= min(LEAST_SHARE, float(share.max()))
    means = np.where(brain, template.blocks(data * mask) / np.maximum(share, LEAST_SHARE), 0)
    even = registration.evened(means, brain.astype(np.float32), np.full(3, float(template.BLOCK)))
    sigma = DETAIL_MM / registration.FWHM / template.BLOCK
    wide, local = (
        ndimage.gaussian_filter(part.astype(np.float32), sigma) for part in (even * brain, brain)
    )
    detail: FloatArray = even - wide / np.maximum(local, 0.05)
    return detail, brain
