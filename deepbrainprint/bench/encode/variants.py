"""What is compared: one runtime in one precision with so many threads."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepbrainprint.bench.encode.workload import Workload
from deepbrainprint.encoder.card import WEIGHTS
from deepbrainprint.encoder.runtime import DRIVER


@dataclass(frozen=True)
class Variant:
    """One row of the table. `gpu`: it sees the GPU; the others are kept from it."""

    runtime: str
    precision: str
    threads: int
    compiled: bool = False
    gpu: bool = False

    @property
    def name(self) -> str:
        """For people, for instance `torch.compile fp32`."""
        dotted = ".compile" if self.compiled else ""
        return f"{self.runtime}{dotted} {self.precision}{' on GPU' if self.gpu else ''}"

    def as_json(self) -> dict[str, Any]:
        """Its fields and its name."""
        return {"name": self.name} | asdict(self)


BASE = Variant("torch", "fp32", 0)  # the peer of the others, with the same threads


def variants(load: Workload) -> Iterator[Variant]:
    """All that could be measured, whether or not it can be here."""
    for threads in load.threads:
        yield Variant("onnx", "fp32", threads)
        yield Variant("onnx", "int8", threads)
        yield Variant("torch", "fp32", threads)
        yield Variant("torch", "bf16", threads)
        yield Variant("torch", "fp32", threads, compiled=True)
    for runtime in ("onnx", "torch", "tensorrt"):
        for precision in ("fp32", "bf16" if runtime == "torch" else "fp16"):
            yield Variant(runtime, precision, 1, gpu=True)


def why_not(variant: Variant, folder: Path, load: Workload) -> str:
    """Why this variant of the encoder in `folder` cannot be measured here; empty when it can."""
    reasons = [_lacks_gpu(variant), _lacks_library(variant), _lacks_weights(variant, folder)]
    if variant.compiled:
        reasons += [_lacks_compiler(), "" if load.compiled else "left to --size full"]
    return next(filter(None, reasons), "")


def _lacks_gpu(variant: Variant) -> str:
    return "no NVIDIA GPU here" if variant.gpu and not DRIVER.exists() else ""


def _lacks_library(variant: Variant) -> str:
    library = {"onnx": "onnxruntime"}.get(variant.runtime, variant.runtime)
    return "" if importlib.util.find_spec(library) else f"{library} is not installed"


def _lacks_weights(variant: Variant, folder: Path) -> str:
    needed = variant.runtime == "torch" and not (folder / WEIGHTS).is_file()
    return f"its folder holds no {WEIGHTS}" if needed else ""


def _lacks_compiler() -> str:
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"torch.compile needs a C++ compiler ({compiler})"
