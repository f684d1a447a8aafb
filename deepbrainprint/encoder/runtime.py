"""The encoder at run time, whichever library runs its graph. Importing this needs no torch.

runtime    reads                    runs on
onnx       encoder.onnx             the processor; a GPU where onnxruntime-gpu is installed
torch      encoder.safetensors      the processor, or a GPU where torch finds one
tensorrt   encoder.onnx             a GPU; extra `gpu`
auto       tensorrt where it can run, else onnx
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from deepbrainprint.encoder.card import Card, checked_graph, read_card, shipped
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.records import ByteArray, FloatArray, InputForm

Runtime = Literal["onnx", "torch", "tensorrt", "auto"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
THREADS = 2
DRIVER = Path("/dev/nvidiactl")  # looked for first: GPU libraries take seconds to say no


class Encoder(Protocol):
    """Turns what its card says it reads of an aligned brain into a fingerprint."""

    @property
    def version(self) -> str:
        """Name of the weights; fingerprints of different versions cannot be compared."""

    @property
    def form(self) -> InputForm:
        """What `encode` wants of a brain."""

    @property
    def calibration(self) -> dict[str, Any]:
        """The calibration document that was made with these weights."""

    def encode(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of views (B, *form.shape) uint8, 0 outside the brain."""


class Engine(Protocol):
    """A graph that one library has loaded."""

    def run(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) float32 of contiguous views (B, …) uint8."""


class LoadedEncoder:
    """A card and an engine that runs its graph."""

    def __init__(self, card: Card, engine: Engine) -> None:
        self._card = card
        self._engine = engine

    @property
    def version(self) -> str:
        """Name of the weights."""
        return self._card.version

    @property
    def form(self) -> InputForm:
        """What `encode` wants of a brain."""
        return self._card.form

    @property
    def calibration(self) -> dict[str, Any]:
        """The calibration document of the card."""
        return self._card.calibration

    def encode(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of views (B, *form.shape) uint8, 0 outside the brain.

        BadStudy when a brain is empty in all it shows or the shape is another.
        """
        self._guard(views)
        return self._engine.run(np.ascontiguousarray(views))

    def _guard(self, views: ByteArray) -> None:
        wanted = self.form.shape
        if views.dtype != np.uint8 or views.ndim != 4 or views.shape[1:] != wanted:
            raise BadStudy(
                f"the encoder wants uint8 views of shape {wanted}, not {views.dtype} "
                f"{views.shape[1:]}: cut the brain into the {self.form.kind} of its card",
                code="wrong_slices",
            )
        if not views.any(axis=(1, 2, 3)).all():
            raise BadStudy("there is no brain on the encoder's planes", code="empty_slices")


def open_encoder(
    folder: Path | None = None, runtime: Runtime = "onnx", *, threads: int = THREADS
) -> LoadedEncoder:
    """The encoder in `folder`, or the shipped one, run by `runtime` with so many `threads`.

    Misconfigured if the encoder is missing or damaged, or if the runtime is not installed.
    """
    card = read_card(folder)
    return LoadedEncoder(card, _engine(folder or shipped(), card, runtime, threads))


def _engine(folder: Path, card: Card, runtime: Runtime, threads: int) -> Engine:
    # one library each, of which only the chosen one is imported
    match chosen(runtime):
        case "onnx":
            from deepbrainprint.encoder.runtime_onnx import OnnxEngine  # noqa: PLC0415

            return OnnxEngine(checked_graph(folder, card), threads)
        case "torch":
            from deepbrainprint.encoder.runtime_torch import TorchEngine  # noqa: PLC0415

            return TorchEngine.opened(folder, card, threads)
        case "tensorrt":
            from deepbrainprint.encoder.runtime_tensorrt import TensorRtEngine  # noqa: PLC0415

            return TensorRtEngine.opened(checked_graph(folder, card), card.onnx_sha256)
        case _:
            raise Misconfigured(
                f"no runtime is called {runtime}: choose one of {', '.join(RUNTIMES)}",
                code="unknown_runtime",
            )


def chosen(runtime: Runtime) -> str:
    """What `auto` stands for on this machine; any other name is itself."""
    if runtime != "auto":
        return runtime
    on_gpu = DRIVER.exists() and importlib.util.find_spec("tensorrt")
    return "tensorrt" if on_gpu else "onnx"
