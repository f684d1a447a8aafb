"""Mutual information, overlap and histogram distance: what is counted, not summed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepbrainprint.linkage.lattice import LEVELS
from deepbrainprint.linkage.stack import Stack, Whole

COUNTED = 8  # brains whose voxels are counted at once: few enough for their index to stay in cache
NUMBERS = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
BITS = np.unpackbits(NUMBERS, axis=1).sum(axis=1, dtype=np.uint8)  # set in each 16-bit number
TINY = 1e-9

Floats = npt.NDArray[np.float64]


def information(asked: Stack, held: Stack) -> tuple[Floats, Floats]:
    """Mutual information in nats, and (H₁ + H₂) / H₁₂ (Studholme et al. 1999), (N,) each.

    Over the voxels that both brains have; 0 and 1 where there are none, or where neither varies.
    """
    joint = _joint(asked, held)
    first, second = _entropy(joint.sum(axis=2)), _entropy(joint.sum(axis=1))
    together = _entropy(joint.reshape(len(joint), LEVELS**2))
    varies = together > TINY
    normalised = np.where(varies, (first + second) / np.where(varies, together, 1), 1.0)
    return first + second - together, normalised


def _joint(asked: Stack, held: Stack) -> Whole:
    """Count voxels by their level in the one brain and in each of N: (N, LEVELS, LEVELS)."""
    edge = LEVELS + 1  # level 0 is outside
    joint = np.empty((len(held), edge, edge), np.int64)
    for start in range(0, len(held), COUNTED):
        levels = held.levels[start : start + COUNTED]
        rows = np.arange(len(levels))[:, np.newaxis] * edge + asked.levels[0]
        counts = np.bincount((rows * edge + levels).ravel(), minlength=len(levels) * edge**2)
        joint[start : start + COUNTED] = counts.reshape(-1, edge, edge)
    return joint[:, 1:, 1:]


def _entropy(counts: Whole) -> Floats:
    """In nats, of each row of (N, classes): log n − Σ c log c / n for counts c of n."""
    total = counts.sum(axis=1)
    table = np.arange(total.max(initial=0) + 1, dtype=np.float64)
    table *= np.log(np.maximum(table, 1))
    whole = np.maximum(total, 1)
    found: Floats = np.log(whole) - table[counts].sum(axis=1) / whole
    return found


def overlaps(asked: Stack, held: Stack) -> Floats:
    """Dice overlap of the three tissues, (3, N); 0 for one that neither brain has."""
    shared = BITS[asked.tissue & held.tissue].sum(axis=2, dtype=np.int64)
    return dice(shared.T, asked.sizes[:, 1:].T, held.sizes[:, 1:].T)


def dice(shared: Whole | Floats, first: Whole, second: Whole) -> Floats:
    """Return 2 |A ∩ B| / (|A| + |B|); 0 for two empty sets."""
    found: Floats = 2 * shared / np.maximum(first + second, 1)
    return found


def distance(asked: Stack, held: Stack) -> Floats:
    """Earth mover's distance of histograms, in shares of the whole range, 0…1: (N,)."""
    apart = np.cumsum(asked.shares.astype(np.float64) - held.shares, axis=1)
    found: Floats = np.abs(apart).mean(axis=1)
    return found
