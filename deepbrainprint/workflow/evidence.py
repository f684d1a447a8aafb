"""From fingerprints of known people to the pair scores that calibration takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deepbrainprint.linkage.calibration import Scores
from deepbrainprint.records import FloatArray

Numbers = npt.NDArray[np.int64]


def pair_scores(
    vectors: FloatArray, people: Numbers, contrasts: Numbers, *, source: str
) -> list[Scores]:
    """Scores of all pairs of scans, same contrast and cross contrast.

    vectors: (N, 512) unit length; people and contrasts: (N,).
    """
    first, second = np.triu_indices(len(vectors), k=1)
    similarity = np.einsum("nd,nd->n", vectors[first], vectors[second]).astype(np.float64)
    alike = contrasts[first] == contrasts[second]
    genuine = people[first] == people[second]
    return [
        Scores(
            source=source,
            same_contrast=same,
            genuine=similarity[genuine & (alike == same)],
            genuine_people=people[first][genuine & (alike == same)],
            impostor=similarity[~genuine & (alike == same)],
            impostor_people=np.stack([people[first], people[second]], axis=1)[
                ~genuine & (alike == same)
            ],
        )
        for same in (True, False)
    ]


def joined(groups: Sequence[list[Scores]]) -> list[Scores]:
    """Scores of groups that are never compared with each other, as one for each condition."""
    return [_join([group[index] for group in groups]) for index in range(2)]


def _join(parts: Sequence[Scores]) -> Scores:
    return Scores(
        source=parts[0].source,
        same_contrast=parts[0].same_contrast,
        genuine=np.concatenate([p.genuine for p in parts]),
        genuine_people=np.concatenate([p.genuine_people for p in parts]),
        impostor=np.concatenate([p.impostor for p in parts]),
        impostor_people=np.concatenate([p.impostor_people for p in parts]),
    )
