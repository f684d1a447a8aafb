"""A threshold between two crowds of scores, by kernel density (Sharma et al., arXiv 2602.10043)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import gaussian_kde

Floats = npt.NDArray[np.float64]
LEAST = 5  # scores of either kind


def threshold(genuine: Floats, impostor: Floats) -> float:
    """Return the score above which "one person" is the denser of two estimates.

    Gaussian kernels of Scott's width over scores (n,) of one person and (m,) of two people, each
    crowd with equal weight; searched between the two medians.

    Raises
    ------
    ValueError
        There are fewer than five scores of either, or the medians are the wrong way round.

    """
    if min(len(genuine), len(impostor)) < LEAST:
        message = f"{len(genuine)} genuine and {len(impostor)} impostor scores: {LEAST} are needed"
        raise ValueError(message)
    low, high = float(np.median(impostor)), float(np.median(genuine))
    if low >= high:
        message = "pairs of two people score as high as pairs of one: no threshold parts them"
        raise ValueError(message)
    inner, outer = (_density(scores) for scores in (genuine, impostor))

    def lead(score: float) -> float:
        return float(inner.logpdf(score)[0] - outer.logpdf(score)[0])

    if lead(low) >= 0 or lead(high) <= 0:
        return (low + high) / 2  # the densities do not cross: both are far too wide
    return float(brentq(lead, low, high))


def _density(scores: Floats) -> gaussian_kde:
    spread = float(np.std(scores))
    jitter = 0.0 if spread > 0 else 1e-9  # equal scores have no density
    return gaussian_kde(scores + jitter * np.linspace(-1, 1, len(scores)))
