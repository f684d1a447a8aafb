"""The encoder at run time: ONNX Runtime on the CPU. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from deepbrainprint.encoder.card import Card, checked_graph, read_card, shipped
from deepbrainprint.errors import BadStudy
from deepbrainprint.records import ByteArray, FloatArray

PLANE_SHAPE = (182, 218)
THREADS = 2


class Encoder(Protocol):
    """Turns axial slices of an aligned brain into fingerprints."""

    @property
    def version(self) -> str:
        """Name of the weights; fingerprints of different versions cannot be compared."""

    @property
    def planes(self) -> tuple[int, ...]:
        """Axial indices on the 1 mm grid that `encode` wants, in order."""

    @property
    def calibration(self) -> dict[str, Any]:
        """The calibration document that was made with these weights."""

    def encode(self, slices: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of slices (B, P, 182, 218)."""


class OnnxEncoder:
    """An exported graph in ONNX Runtime."""

    def __init__(self, card: Card, session: ort.InferenceSession) -> None:
        self._card = card
        self._session = session

    @property
    def version(self) -> str:
        """Name of the weights."""
        return self._card.version

    @property
    def planes(self) -> tuple[int, ...]:
        """Axial indices on the 1 mm grid, in order."""
        return self._card.planes

    @property
    def calibration(self) -> dict[str, Any]:
        """The calibration document of the card."""
        return self._card.calibration

    def encode(self, slices: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of slices (B, P, 182, 218) uint8, 0 outside the brain.

        BadStudy when a brain is empty on all planes or the shape is another.
        """
        self._guard(slices)
        (vectors,) = self._session.run(None, {"slices": np.ascontiguousarray(slices)})
        fingerprints: FloatArray = vectors.astype(np.float32, copy=False)
        return fingerprints

    def _guard(self, slices: ByteArray) -> None:
        wanted = (len(self.planes), *PLANE_SHAPE)
        if slices.dtype != np.uint8 or slices.ndim != 4 or slices.shape[1:] != wanted:
            raise BadStudy(
                f"the encoder wants uint8 slices of shape {wanted}, not {slices.dtype} "
                f"{slices.shape[1:]}: cut them at the planes of its card",
                code="wrong_slices",
            )
        if not slices.any(axis=(1, 2, 3)).all():
            raise BadStudy("there is no brain on the encoder's planes", code="empty_slices")


def open_encoder(folder: Path | None = None) -> OnnxEncoder:
    """The encoder in `folder`, or the shipped one; Misconfigured if it is missing or damaged."""
    card = read_card(folder)
    path = checked_graph(folder or shipped(), card)
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3  # errors
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return OnnxEncoder(card, session)
