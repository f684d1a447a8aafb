"""ONNX Runtime, on the processor or, where `onnxruntime-gpu` is installed, on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from deepbrainprint.encoder.runtime import DRIVER
from deepbrainprint.records import ByteArray, FloatArray

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ERRORS_ONLY = 3
# A thread that spins while others want its core holds up everyone: beside five busy processes on
# two cores a slice took 45 ms with the library's own setting and 15 ms with this one.
SPIN = {"session.intra_op.spin_duration_us": "50"}


class OnnxEngine:
    """One session. Its graph has one uint8 input (B, …) and one output (B, 512)."""

    def __init__(self, graph: Path, threads: int) -> None:
        self._session = ort.InferenceSession(str(graph), _options(threads), providers=providers())
        self._input = self._session.get_inputs()[0].name

    def run(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of views (B, …)."""
        (vectors,) = self._session.run(None, {self._input: views})
        fingerprints: FloatArray = vectors.astype(np.float32, copy=False)
        return fingerprints


def providers() -> list[Any]:
    """CUDA where this build of ONNX Runtime offers it and there is a GPU; the processor always."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    if hidden or not DRIVER.exists() or CUDA not in ort.get_available_providers():
        return [CPU]
    ort.preload_dlls()  # CUDA and cuDNN from their wheels
    return [(CUDA, {"use_tf32": "0"}), CPU]  # single precision shall be single


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    for name, value in SPIN.items():
        options.add_session_config_entry(name, value)
    return options
