"""The methods of recognising a person, by name, on aligned brains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepbrainprint.encoder.card import METHODS as LEARNED
from deepbrainprint.encoder.card import folder_of
from deepbrainprint.encoder.runtime import Encoder, open_encoder
from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import reading
from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.linkage.similarity import MEASURES, Prepared, Stack, against, prepared
from deepbrainprint.records import ByteArray, FloatArray
from deepbrainprint.settings import Settings

ENCODER, SIMILARITY = "encoder", "similarity"
NAMES = (ENCODER, *LEARNED, SIMILARITY)
STEP_MM = 4  # lattice on which whole brains are compared
# Needs no assumption on the contrast. Picked after seeing all eleven on the 22 searches of the
# public scans: what it does there is the best of eleven, not a forecast.
LEAD = "normalised_mutual_information"
EVERY = 20  # scans between two reports of progress

Progress = Callable[[int], None]  # how many are done


class Method(Protocol):
    """Recognises a person in aligned brains."""

    @property
    def version(self) -> str:
        """What of the method is used: weights, or a lattice."""

    @property
    def lead(self) -> str:
        """The score that stands for the method."""

    def describe(self, brain: ByteArray) -> Any:
        """Return what a gallery keeps of a brain (182, 218, 182)."""

    def entry(self, description: Any) -> npt.NDArray[Any]:
        """Return a description as one array."""

    def compare(self, held: Sequence[Any], progress: Progress) -> Mapping[str, Floats]:
        """Return every score of N descriptions with each other, (N, N)."""


class ByEncoder:
    """Fingerprints of unit length, compared by their cosine."""

    lead = "cosine"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def version(self) -> str:
        """Name of the weights."""
        return self._encoder.version

    def describe(self, brain: ByteArray) -> FloatArray:
        """Return the fingerprint (512,)."""
        views = reading.read(brain, self._encoder.form)
        vector: FloatArray = self._encoder.encode(views[np.newaxis])[0]
        return vector

    def entry(self, description: FloatArray) -> FloatArray:
        """Return the fingerprint itself."""
        return description

    def compare(self, held: Sequence[FloatArray], progress: Progress) -> dict[str, Floats]:
        """Return the cosines: one product of matrices."""
        vectors = np.stack(held).astype(np.float64)
        progress(len(held))
        return {"cosine": vectors @ vectors.T}


class BySimilarity:
    """Eleven measures on whole aligned brains, without any training (arXiv 2602.10043)."""

    lead = LEAD
    version = f"{STEP_MM} mm"

    def describe(self, brain: ByteArray) -> Prepared:
        """Return the brain on the lattice, with what the measures need."""
        return prepared(brain, STEP_MM)

    def entry(self, description: Prepared) -> ByteArray:
        """Return the harmonised intensities (x, y, z); all else follows from them and the mask."""
        return description.values

    def compare(self, held: Sequence[Prepared], progress: Progress) -> dict[str, Floats]:
        """Return every measure of every pair; each is the same either way round."""
        stack = Stack.of(held)
        matrices = {name: np.empty((len(held), len(held))) for name in MEASURES}
        for place, one in enumerate(held):
            for name, row in against(one, stack[place:]).items():
                matrices[name][place, place:] = matrices[name][place:, place] = row
            if place % EVERY == 0 or place + 1 == len(held):
                progress(place + 1)
        return matrices


def opened(name: str, settings: Settings, encoder: Path | None = None) -> Method:
    """Open a method by name; `encoder` is a folder to use instead of the method's own.

    Misconfigured with the known names when there is no such method, or when it has no weights here.
    """
    if name == SIMILARITY:
        return BySimilarity()
    folder = encoder or weights_of(name, settings)
    return ByEncoder(
        open_encoder(folder, settings.encoder_runtime, threads=settings.encoder_threads)
    )


def weights_of(name: str, settings: Settings) -> Path | None:
    """Return the folder of a learned method's encoder; None for the shipped default.

    Misconfigured when there is no such method, or when it has no weights here.
    """
    if name not in NAMES or name == SIMILARITY:
        raise Misconfigured(
            f"no method is called {name}: use {', '.join(NAMES)}", code="unknown_method"
        )
    return settings.encoder_path if name == ENCODER else folder_of(name, settings.methods_path)
