"""How alike aligned brains are, without any training: eleven measures of similarity.

Linking by plain image similarity (Sharma et al., arXiv 2602.10043): affine alignment, harmonised
intensities, no skull, then measures of similarity and a threshold between the densities of pairs of
one person and of two (`linkage.density`). The paper's own list of eleven could not be read; these
are the usual ones of image registration. Each is larger for brains that are more alike.

One brain is compared with a whole stack at once; two brains are a stack of one. A pair is looked at
where both brains are, but for overlaps and the histogram distance. The local correlation and SSIM
are formed in cubes of at most 14 mm (12 mm on a lattice of 4 mm) that do not overlap, not in
windows around every voxel, and each cube counts by its voxels that are in both brains.

The order of a pair does not matter, and no brain is more like a brain than itself, with one
exception: mutual information can be larger in a part that two brains share than in the whole of
one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepbrainprint.linkage import histograms, moments
from deepbrainprint.linkage.lattice import Prepared, prepared
from deepbrainprint.linkage.stack import Stack

__all__ = ["MEASURES", "Prepared", "Stack", "against", "prepared", "similarities"]

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
TOGETHER = 256  # brains that are compared at once
TINY = 1e-9

Floats = npt.NDArray[np.float64]


def similarities(first: Prepared, second: Prepared) -> dict[str, float]:
    """Return each of MEASURES for two brains on one lattice; ValueError where they are not.

    Two brains that share no voxel are as unlike as a measure can say.
    """
    return {name: float(found[0]) for name, found in against(first, Stack.of([second])).items()}


def against(probe: Prepared, held: Stack) -> dict[str, Floats]:
    """Return each of MEASURES for one brain and every brain of a stack, (N,) in its order.

    The same numbers as `similarities` of the pairs. ValueError where the lattices differ.
    """
    asked = Stack.laid(held.layout, [probe])
    starts = range(0, max(len(held), 1), TOGETHER)
    parts = [_measured(asked, held[start : start + TOGETHER]) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def _measured(asked: Stack, held: Stack) -> dict[str, Floats]:
    values, slopes, (local, structural) = moments.over_cubes(asked, held)
    square = moments.squared_difference(values)
    mutual, normalised = histograms.information(asked, held)
    return {
        "correlation": moments.correlation(values),
        "local_correlation": local,
        "gradient_correlation": moments.correlation(slopes),
        "structural_similarity": structural,
        "mutual_information": mutual,
        "normalised_mutual_information": normalised,
        "squared_difference": -square,
        "peak_signal_to_noise": -10 * np.log10(np.maximum(square, TINY)),
        "tissue_overlap": histograms.overlaps(asked, held).mean(axis=0),
        "mask_overlap": histograms.dice(values[0], asked.sizes[:, 0], held.sizes[:, 0]),
        "histogram_distance": -histograms.distance(asked, held),
    }
