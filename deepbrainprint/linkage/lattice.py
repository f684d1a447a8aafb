"""A brain on a coarse lattice, harmonised, as the measures of similarity need it.

Values are whole numbers of 256ths. Sums of their products over a cube of `linkage.stack` then stay
below 2²⁴ on lattices of 2 mm and coarser, where single precision is exact and no order of summing
shows: a brain differs from itself by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepbrainprint.records import ByteArray, FloatArray, MaskArray

LEVELS = 32  # of intensity in histograms
STEPS = 256  # of a value between 0 and 1
KINDS = (1, 2, 3)  # of tissue, by rising intensity
MIDDLE, SPREAD = 0.5, 0.2  # of the values in a brain once harmonised


@dataclass(frozen=True)
class Prepared:
    """One brain as the measures need it; lattices (x, y, z) of `step` millimetres, RAS."""

    step: int
    inside: MaskArray
    values: ByteArray  # 256ths; mean 128 and standard deviation 51 inside; 0 outside
    slopes: ByteArray  # length of the gradient, 256ths per voxel
    tissue: ByteArray  # 1, 2, 3 by rising intensity; 0 outside
    shares: FloatArray  # (LEVELS,) of the brain's voxels, by intensity as aligned


def prepared(brain: ByteArray, step: int = 2) -> Prepared:
    """Prepare an aligned brain (182, 218, 182) on a lattice of `step` millimetres.

    Harmonisation sets mean and standard deviation inside the brain.
    """
    level, inside = _averaged(brain, step)
    held = level[inside]
    spread = max(float(held.std()), 1e-6) if held.size else 1.0
    middle = float(held.mean()) if held.size else 0.0
    values = np.where(inside, np.clip(MIDDLE + SPREAD * (level - middle) / spread, 0, 1), 0)
    slopes = np.sqrt(sum(np.square(slope) for slope in np.gradient(values)))
    counts = np.histogram(held, LEVELS, (0, 256))[0]
    shares = (counts / max(held.size, 1)).astype(np.float32)
    return Prepared(
        step, inside, _stepped(values), _stepped(slopes), _tissue(level, inside), shares
    )


def _averaged(brain: ByteArray, step: int) -> tuple[FloatArray, MaskArray]:
    """Mean intensity of the brain in each block, and which blocks are more than half brain."""
    x, y, z = (n // step for n in brain.shape)
    whole = brain[: x * step, : y * step, : z * step]
    blocks = whole.reshape(x, step, y, step, z, step)
    share = (blocks > 0).mean(axis=(1, 3, 5), dtype=np.float32)
    inside: MaskArray = share > 0.5
    level = np.where(inside, blocks.mean(axis=(1, 3, 5), dtype=np.float32), 0)
    level /= np.maximum(share, 0.5)  # of the brain in a block, not of its surroundings
    return level, inside


def _stepped(data: FloatArray) -> ByteArray:
    return np.clip(np.rint(data * STEPS), 0, STEPS - 1).astype(np.uint8)


def _tissue(level: FloatArray, inside: MaskArray) -> ByteArray:
    """Three classes that vary least within themselves, by intensity (k-means in one dimension)."""
    tissue = np.zeros(level.shape, dtype=np.uint8)
    if not inside.any():
        return tissue
    held = level[inside]
    centres = np.percentile(held, (15, 50, 85))
    for _ in range(12):
        edges = (centres[1:] + centres[:-1]) / 2
        kind = np.searchsorted(edges, held)
        centres = np.array(
            [held[kind == k].mean() if (kind == k).any() else centres[k] for k in range(3)]
        )
    tissue[inside] = kind + 1
    return tissue
