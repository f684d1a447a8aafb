"""Correlation, squared difference and structural similarity, all from sums over cubes.

Six sums are enough, over the voxels that both brains of a pair have: of 1, a, a², b, ab and b²,
in this order along the first axis. One brain (a) and a stack of N (b) give them as products of
matrices; N stands last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepbrainprint.linkage.lattice import STEPS
from deepbrainprint.linkage.stack import Stack

IN_CACHE = 1 << 18  # values that are worked on at once
# C1 and C2 of SSIM for values of 0…1 (Wang et al., IEEE TIP 2004;13:600, eq. 13), in 256ths
STABLE_LIGHT, STABLE_CONTRAST = (0.01 * STEPS) ** 2, (0.03 * STEPS) ** 2

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def over_cubes(asked: Stack, held: Stack) -> tuple[Floats, Floats, Floats]:
    """Return the sums of values and of slopes, (6, N) each, and two local figures, (2, N).

    Local figures are means over the voxels of both brains, each with what its cube has. `asked`
    holds one brain, in the layout of `held`.
    """
    cubes, voxels, count = held.inside.shape
    values, slopes, local = np.zeros((6, count)), np.zeros((6, count)), np.zeros((2, count))
    size = max(1, IN_CACHE // max(voxels * count, 1))
    for start in range(0, cubes, size):
        part = slice(start, start + size)
        inside = _single(asked.inside[part]), _single(held.inside[part])
        sums = _sums(inside, _single(asked.values[part]), _single(held.values[part]))
        values += sums.sum(axis=1)
        local += (_local(sums) * sums[0]).sum(axis=1)
        steep = _sums(inside, _single(asked.slopes[part]), _single(held.slopes[part]))
        slopes += steep.sum(axis=1)
    return values, slopes, local / np.maximum(values[0], 1)


def _single(data: npt.NDArray[np.generic]) -> Singles:
    return data.astype(np.float32)


def _sums(inside: tuple[Singles, Singles], one: Singles, other: Singles) -> Floats:
    """Sums over each cube of one brain (k, C, 1) with each of N (k, C, N): (6, k, N).

    Whole numbers, and doubles from here on: variances of few voxels are small beside their terms.
    """
    rows = np.concatenate([inside[0], one, one * one], axis=2).transpose(0, 2, 1)  # (k, 3, C)
    sums = (rows @ inside[1], rows[:, :2] @ other, rows[:, :1] @ (other * other))
    return np.concatenate(sums, axis=1, dtype=np.float64).transpose(1, 0, 2)


def _local(sums: Floats) -> Floats:
    """Signed square of the correlation, and SSIM, of every cube: (2, k, N).

    The correlation is the structure term of SSIM (Wang et al. 2004, eq. 10), whose constant keeps
    noise in a cube without contrast from counting as unlike.
    """
    voxels = np.maximum(sums[0], 1)
    mean_a, mean_b = sums[1] / voxels, sums[3] / voxels
    var_a, var_b = sums[2] / voxels - mean_a**2, sums[5] / voxels - mean_b**2
    shared = sums[4] / voxels - mean_a * mean_b
    light_a, light_b = mean_a + STEPS // 2, mean_b + STEPS // 2
    alike = (2 * light_a * light_b + STABLE_LIGHT) * (2 * shared + STABLE_CONTRAST)
    most = (light_a**2 + light_b**2 + STABLE_LIGHT) * (var_a + var_b + STABLE_CONTRAST)
    spread = np.sqrt(np.maximum(var_a * var_b, 0)) + STABLE_CONTRAST / 2
    structure = (shared + STABLE_CONTRAST / 2) / spread
    return np.stack([structure * np.abs(structure), alike / most])


def correlation(sums: Floats) -> Floats:
    """Return Pearson's correlation from sums (6, N); 0 where either brain does not vary."""
    count, a, aa, b, ab, bb = sums
    most = np.sqrt((count * aa - a * a) * (count * bb - b * b))
    found: Floats = np.where(most > 0, (count * ab - a * b) / np.where(most > 0, most, 1), 0.0)
    return found


def squared_difference(sums: Floats) -> Floats:
    """Return the mean squared difference of values of 0…1 from sums (6, N); 1 without voxels."""
    count, _, aa, _, ab, bb = sums
    total = (aa + bb - 2 * ab) / STEPS**2
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)
