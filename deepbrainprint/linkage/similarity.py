"""How alike two aligned brains are, without any training: eleven measures of similarity.

Linking by plain image similarity (Sharma et al., arXiv 2602.10043): affine alignment, harmonised
intensities, no skull, then measures of similarity and a threshold between the densities of pairs of
one person and of two (`linkage.density`). The paper's own list of eleven could not be read; these
are the usual ones of image registration. Each is larger for brains that are more alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepbrainprint.records import ByteArray, FloatArray, MaskArray

MEASURES = (
    "correlation",
    "local_correlation",
    "gradient_correlation",
    "structural_similarity",
    "mutual_information",
    "normalised_mutual_information",
    "squared_difference",
    "peak_signal_to_noise",
    "tissue_overlap",
    "mask_overlap",
    "histogram_distance",
)
LEVELS = 32  # of intensity in joint histograms
WINDOW_MM = 14.0  # edge of the cube in which local figures are formed
STABLE = (0.01**2, 0.03**2)  # C1 and C2 of SSIM for values of 0…1 (Wang et al. 2004, eq. 13)
TINY = 1e-9


@dataclass(frozen=True)
class Prepared:
    """One brain as the measures need it; lattices (x, y, z) of `step` millimetres, RAS."""

    step: int
    inside: MaskArray
    values: FloatArray  # 0…1, mean 0.5 and standard deviation 0.2 inside before clipping; 0 outside
    slopes: FloatArray  # length of the gradient, per voxel
    tissue: npt.NDArray[np.uint8]  # 1, 2, 3 by rising intensity; 0 outside
    shares: FloatArray  # (LEVELS,) of the brain's voxels, by intensity as aligned


def prepared(brain: ByteArray, step: int = 2) -> Prepared:
    """Prepare an aligned brain (182, 218, 182) on a lattice of `step` millimetres.

    Harmonisation sets mean and standard deviation inside the brain.
    """
    x, y, z = (n // step * step for n in brain.shape)
    blocks = brain[:x, :y, :z].reshape(x // step, step, y // step, step, z // step, step)
    share = (blocks > 0).mean(axis=(1, 3, 5), dtype=np.float32)
    inside: MaskArray = share > 0.5
    level = np.where(inside, blocks.mean(axis=(1, 3, 5), dtype=np.float32), 0)
    level /= np.maximum(share, 0.5)  # of the brain in a block, not of its surroundings
    held = level[inside]
    spread = max(float(held.std()), 1e-6) if held.size else 1.0
    middle = float(held.mean()) if held.size else 0.0
    values = np.where(inside, np.clip(0.5 + 0.2 * (level - middle) / spread, 0, 1), 0)
    slopes = np.sqrt(sum(np.square(slope) for slope in np.gradient(values)))
    counts = np.histogram(held, LEVELS, (0, 256))[0]
    return Prepared(
        step,
        inside,
        values.astype(np.float32),
        np.asarray(slopes, dtype=np.float32),
        _tissue(level, inside),
        (counts / max(held.size, 1)).astype(np.float32),
    )


def similarities(first: Prepared, second: Prepared) -> dict[str, float]:
    """Return each of MEASURES for two brains on one lattice; ValueError where they are not.

    Two brains that share no voxel are as unlike as a measure can say.
    """
    if first.step != second.step:
        message = f"prepared on lattices of {first.step} and {second.step} mm: take one for both"
        raise ValueError(message)
    both = first.inside & second.inside
    one, other = first.values[both], second.values[both]
    square = float(np.square(one - other).mean()) if both.any() else 1.0
    information, normalised = _information(one, other)
    local, structural = _local(first, second, both)
    return {
        "correlation": correlation(one, other),
        "local_correlation": local,
        "gradient_correlation": correlation(first.slopes[both], second.slopes[both]),
        "structural_similarity": structural,
        "mutual_information": information,
        "normalised_mutual_information": normalised,
        "squared_difference": -square,
        "peak_signal_to_noise": float(-10 * np.log10(max(square, TINY))),
        "tissue_overlap": _tissue_overlap(first.tissue, second.tissue),
        "mask_overlap": _overlap(first.inside, second.inside),
        "histogram_distance": -_distance(first.shares, second.shares),
    }


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Return Pearson's correlation of two arrays (n,); 0 where either does not vary."""
    if one.size < 2 or min(one.std(), other.std()) < TINY:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _information(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Mutual information in nats, and (H₁ + H₂) / H₁₂ (Studholme et al. 1999)."""
    if not one.size:
        return 0.0, 1.0
    joint = np.histogram2d(one, other, LEVELS, ((0, 1), (0, 1)))[0] / one.size
    first, second = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    together = _entropy(joint.ravel())
    return first + second - together, (first + second) / max(together, TINY)


def _entropy(shares: npt.NDArray[np.floating]) -> float:
    return float(-(shares * np.log(np.maximum(shares, TINY))).sum())


def _local(first: Prepared, second: Prepared, both: MaskArray) -> tuple[float, float]:
    """Mean squared local correlation, and SSIM (Wang et al., IEEE TIP 2004;13:600), inside both."""
    if not both.any():
        return 0.0, 0.0
    size = int(WINDOW_MM / first.step) // 2 * 2 + 1
    weight = _boxed(both.astype(np.float32), size)[both]  # at least that of the voxel itself

    def mean(data: FloatArray) -> FloatArray:
        over: FloatArray = _boxed(np.where(both, data, 0), size)[both] / weight
        return over

    a, b = first.values, second.values
    mean_a, mean_b = mean(a), mean(b)
    var_a = (mean(a * a) - mean_a**2).clip(min=0)
    var_b = (mean(b * b) - mean_b**2).clip(min=0)
    shared = mean(a * b) - mean_a * mean_b
    c1, c2 = STABLE
    alike = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    most = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    local = shared * np.abs(shared) / np.maximum(var_a * var_b, c2**2)
    return float(local.mean()), float((alike / most).mean())


def _boxed(data: FloatArray, size: int) -> FloatArray:
    smooth: FloatArray = ndimage.uniform_filter(data, size, mode="constant")
    return smooth


def _tissue(level: FloatArray, inside: MaskArray) -> npt.NDArray[np.uint8]:
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


def _tissue_overlap(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Mean Dice overlap of the three classes."""
    return float(np.mean([_overlap(first == kind, second == kind) for kind in (1, 2, 3)]))


def _overlap(first: MaskArray, second: MaskArray) -> float:
    total = int(first.sum()) + int(second.sum())
    return 2 * float((first & second).sum()) / total if total else 0.0


def _distance(first: FloatArray, second: FloatArray) -> float:
    """Earth mover's distance of two histograms, in shares of the whole range, 0…1."""
    return float(np.abs(np.cumsum(first - second)).mean())
