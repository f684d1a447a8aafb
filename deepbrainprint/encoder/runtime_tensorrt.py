"""TensorRT 10.x and 11.x on an NVIDIA GPU (extra `gpu`): the only file that imports it.

The precision is that of the ONNX graph (a strongly typed network): TensorRT 11 knows no other way,
having removed the flags of its builder, and 10 is asked for the same. A built engine is kept on
disk under the digest of its graph, the version of TensorRT and the name of the GPU, since it is
good for no others.

https://docs.nvidia.com/deeplearning/tensorrt/latest/api/migration/tensorrt-10x-to-11x.html
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.records import FINGERPRINT_LENGTH, ByteArray, FloatArray

ONE, MANY = (1, 1, 1), (1, 64, 256)  # least, usual and largest batch of the two profiles
LARGEST = MANY[2]


class TensorRtEngine:
    """A built engine with one lane for single scans and one for batches."""

    def __init__(self, plan: bytes) -> None:
        trt = library()
        self._runtime = trt.Runtime(_logger(trt))  # must outlive the engine
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise Misconfigured(
                "TensorRT cannot read this engine: remove it from the cache", code="engine_damaged"
            )
        self._one = _Lane(self._engine, 0, ONE[2])
        self._many = _Lane(self._engine, 1, LARGEST)

    @classmethod
    def opened(cls, graph: Path, digest: str, cache: Path | None = None) -> TensorRtEngine:
        """The engine of an ONNX file with that SHA-256: from `cache`, or built and kept there."""
        library()
        kept = plan_path(cache or default_cache(), digest)
        if kept.is_file():
            try:
                return cls(kept.read_bytes())
            except Misconfigured:
                kept.unlink()
        plan = built(graph)
        _keep(plan, kept)
        return cls(plan)

    def run(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of views (B, …), at most `LARGEST` at a time."""
        vectors = np.empty((len(views), FINGERPRINT_LENGTH), dtype=np.float32)
        lane = self._one if len(views) == 1 else self._many
        for start in range(0, len(views), LARGEST):
            part = views[start : start + LARGEST]
            vectors[start : start + len(part)] = lane.run(part)
        return vectors


class _Lane:
    """One execution context with its stream and buffers, on the host pinned, for one profile."""

    def __init__(self, engine: Any, profile: int, largest: int) -> None:
        self._input, self._output = tensor_names(engine)
        shape = (largest, *tuple(engine.get_tensor_shape(self._input))[1:])
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._sent = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._views = torch.empty(shape, dtype=torch.uint8, device="cuda")
        self._vectors = torch.empty((largest, FINGERPRINT_LENGTH), device="cuda")
        self._received = torch.empty((largest, FINGERPRINT_LENGTH), pin_memory=True)
        self._context = engine.create_execution_context()
        self._context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        self._context.set_tensor_address(self._input, self._views.data_ptr())
        self._context.set_tensor_address(self._output, self._vectors.data_ptr())

    def run(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512); what is returned is overwritten by the next run."""
        count = len(views)
        self._sent[:count] = torch.from_numpy(views)
        with torch.cuda.stream(self._stream):
            self._views[:count].copy_(self._sent[:count], non_blocking=True)
            self._context.set_input_shape(self._input, tuple(views.shape))
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise TryAgain("the GPU did not take a run: is its memory full?", code="gpu_failed")
            self._received[:count].copy_(self._vectors[:count], non_blocking=True)
        self._stream.synchronize()
        received: FloatArray = self._received[:count].numpy()
        return received


def library() -> Any:
    """TensorRT; Misconfigured where it is not installed or there is no GPU."""
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise Misconfigured(
            "TensorRT is missing: run pip install 'deepbrainprint[gpu]', or use the runtime onnx",
            code="runtime_missing",
        ) from error
    if not torch.cuda.is_available():
        raise Misconfigured(
            "TensorRT needs an NVIDIA GPU and a torch built for CUDA, and torch finds none: "
            "use the runtime onnx",
            code="runtime_missing",
        )
    return trt


def built(graph: Path) -> bytes:
    """Build the engine of an ONNX file: seconds to minutes. Misconfigured if it cannot be."""
    trt = library()
    logger = _logger(trt)
    builder = trt.Builder(logger)
    # always so in TensorRT 11, which still takes the flag
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):
        raise _unbuilt(graph, str(parser.get_error(0)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; single precision shall be single
    views = network.get_input(0)
    for batches in (ONE, MANY):
        profile = builder.create_optimization_profile()
        profile.set_shape(views.name, *((batch, *tuple(views.shape)[1:]) for batch in batches))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _unbuilt(graph, "the builder gave up")
    return bytes(plan)


def tensor_names(engine: Any) -> tuple[str, str]:
    """Names of the one input and the one output."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    is_input = library().TensorIOMode.INPUT
    (views,) = (name for name in names if engine.get_tensor_mode(name) == is_input)
    (vectors,) = (name for name in names if name != views)
    return views, vectors


def default_cache() -> Path:
    """Where engines are kept unless a caller says otherwise (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "deepbrainprint" / "tensorrt"


def plan_path(cache: Path, digest: str) -> Path:
    """File of the engine of one graph for this TensorRT and this GPU."""
    version = library().__version__
    gpu = re.sub(r"\W+", "-", torch.cuda.get_device_name()).lower()
    return cache / f"{digest[:16]}-{version}-{gpu}.plan"


def _keep(plan: bytes, path: Path) -> None:
    """Write in one step: two workers may build the same engine at one time."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(plan)
    Path(file.name).replace(path)


def _unbuilt(graph: Path, why: str) -> Misconfigured:
    return Misconfigured(
        f"TensorRT cannot build {graph.name} ({why}): use the runtime onnx", code="engine_unbuilt"
    )


def _logger(trt: Any) -> Any:
    return trt.Logger(trt.Logger.WARNING)
