"""How well fingerprints find their person: plain counts over cosine similarities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepbrainprint.records import FloatArray


def pair_accuracy(first: FloatArray, second: FloatArray) -> float:
    """Share of scans whose nearest scan in the other half is its partner.

    first, second: (N, 512) unit vectors, row i of both being one person; both directions count.
    """
    similarity = first @ second.T
    right = np.arange(len(first))
    hits = (similarity.argmax(axis=1) == right).mean() + (similarity.argmax(axis=0) == right).mean()
    return float(hits / 2)


def right_ranks(vectors: FloatArray, people: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rank, from 1, of the nearest other scan of the same person for each scan of `vectors`.

    Scans of people that have only one are left out. vectors: (N, 512); people: (N,).
    """
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    same = people[:, None] == people[None, :]
    np.fill_diagonal(same, val=False)
    best = np.where(same, similarity, -np.inf).max(axis=1)
    ahead = (~same & (similarity >= best[:, None])).sum(axis=1)
    ranks: npt.NDArray[np.int64] = (ahead + 1)[same.any(axis=1)]
    return ranks
