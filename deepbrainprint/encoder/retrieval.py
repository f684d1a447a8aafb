"""How well fingerprints find their person: plain counts over cosine similarities."""

from __future__ import annotations

import numpy as np

from deepbrainprint.records import FloatArray


def pair_accuracy(first: FloatArray, second: FloatArray) -> float:
    """Share of scans whose nearest scan in the other half is its partner.

    first, second: (N, 512) unit vectors, row i of both being one person; both directions count.
    """
    similarity = first @ second.T
    right = np.arange(len(first))
    hits = (similarity.argmax(axis=1) == right).mean() + (similarity.argmax(axis=0) == right).mean()
    return float(hits / 2)
