"""The methods that are measured: each turns aligned brains into a matrix of similarities."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np

from deepbrainprint.encoder.runtime import Encoder, open_encoder
from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import slices
from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.linkage.similarity import MEASURES, Prepared, prepared, similarities
from deepbrainprint.records import ByteArray

STEP_MM = 4  # lattice on which whole brains are compared
# Needs no assumption on the contrast. Picked after seeing all eleven on the 22 searches of the
# public scans: what it does there is the best of eleven, not a forecast.
LEAD = "normalised_mutual_information"
FLOAT_BYTES = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """What one method made of N brains."""

    matrices: Mapping[str, Floats]  # (N, N) for each way that it can score
    lead: str  # of those, the one that stands for the method
    version: str
    bytes_per_entry: int  # of a gallery
    seconds_per_scan: float  # to describe an aligned brain
    seconds_per_comparison: float


class Method(Protocol):
    """Recognises a person in aligned brains."""

    def measure(self, brains: Iterable[ByteArray], progress: Progress) -> Measured:
        """Describe each brain (182, 218, 182) and compare each with each."""


class ByEncoder:
    """Fingerprints of unit length, compared by their cosine."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def measure(self, brains: Iterable[ByteArray], progress: Progress) -> Measured:
        """Encode each brain, then one product of matrices."""
        vectors, seconds = [], 0.0
        for number, brain in enumerate(brains, start=1):
            began = time.perf_counter()
            views = slices.axial(brain, self._encoder.planes)
            vectors.append(self._encoder.encode(views[np.newaxis])[0])
            seconds += time.perf_counter() - began
            progress(number, number)
        held = np.stack(vectors).astype(np.float64)
        began = time.perf_counter()
        matrix = held @ held.T
        compared = time.perf_counter() - began
        return Measured(
            {"cosine": matrix},
            "cosine",
            self._encoder.version,
            held.shape[1] * FLOAT_BYTES,
            seconds / len(held),
            compared / len(held) ** 2,
        )


class BySimilarity:
    """Eleven measures on whole aligned brains, without any training (arXiv 2602.10043)."""

    def measure(self, brains: Iterable[ByteArray], progress: Progress) -> Measured:
        """Prepare each brain once, then every pair."""
        began = time.perf_counter()
        held = [prepared(brain, STEP_MM) for brain in brains]
        described = time.perf_counter() - began
        began = time.perf_counter()
        matrices = _pairwise(held, progress)
        compared = time.perf_counter() - began
        return Measured(
            matrices,
            LEAD,
            f"{STEP_MM} mm",
            _size(held[0]),
            described / len(held),
            compared / max(len(held) * (len(held) - 1) / 2, 1),
        )


def _pairwise(held: Sequence[Prepared], progress: Progress) -> dict[str, Floats]:
    count = len(held)
    matrices = {name: np.full((count, count), np.nan) for name in MEASURES}
    pairs = list(combinations(range(count), 2))
    for number, (i, j) in enumerate(pairs, start=1):
        for name, value in similarities(held[i], held[j]).items():
            matrices[name][i, j] = matrices[name][j, i] = value
        if number % 100 == 0 or number == len(pairs):
            progress(number, len(pairs))
    return matrices


def _size(one: Prepared) -> int:
    arrays = (one.inside, one.values, one.slopes, one.tissue, one.shares)
    return sum(array.nbytes for array in arrays)


def _by_encoder(folder: Path | None) -> Method:
    return ByEncoder(open_encoder(folder))


METHODS: dict[str, Callable[[Path | None], Method]] = {
    "encoder": _by_encoder,
    "similarity": lambda _: BySimilarity(),
}


def opened(names: Sequence[str], encoder: Path | None) -> dict[str, Method]:
    """Open methods by name; `encoder` is the folder of one, by default the shipped one.

    Misconfigured with the known names when there is no such method.
    """
    for name in names:
        if name not in METHODS:
            raise Misconfigured(
                f"no method is called {name}: use {', '.join(METHODS)}", code="unknown_method"
            )
    return {name: METHODS[name](encoder) for name in names}
