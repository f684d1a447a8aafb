"""Exported graphs in fewer bits: INT8 convolutions for the processor, fp16 ones for a GPU.

The precision is in the graph, so that every runtime takes it from there. A reduced graph must
give the fingerprints of the full one to a cosine of `PARITY` on brains it was not made from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from deepbrainprint.encoder.runtime_onnx import CPU, ERRORS_ONLY, OnnxEngine
from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import ByteArray, FloatArray

PARITY = 0.999  # least cosine between a reduced graph and the full one
AIM = 0.9993  # of the search, since other brains come out a little worse than those it saw
AT_ONCE = 4
THREADS = 1
CONVOLUTION = "Conv"
PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}  # else it advises to do so, each time


@dataclass(frozen=True)
class Reduction:
    """What became of a graph: how many of its convolutions are reduced, and its least cosine."""

    reduced: int
    convolutions: int
    parity: float


def cosine(made: FloatArray, wanted: FloatArray) -> float:
    """Least cosine between rows (B, 512) of unit length."""
    return float((made * wanted).sum(axis=1).min())


def int8(
    graph: Path, seen: ByteArray, fresh: ByteArray, out: Path, *, least: float = AIM
) -> Reduction:
    """Write to `out` the graph with as many INT8 convolutions as leave cosines at `least`.

    Ranges come from `seen` (B, …), cosines are taken on `fresh` (B, …). Errors of single
    convolutions nearly add up, so they are tried one by one and the mildest kept: weights scaled
    by channel, activations by tensor (Jacob et al. 2018, arXiv 1712.05877, § 2 and 3). What lies
    between them stays in float32. Misconfigured when not even one is mild enough.
    """
    with tempfile.TemporaryDirectory(prefix="dbp-int8-") as folder:
        folded = Path(folder) / "folded.onnx"
        fold(graph, folded)
        wanted = OnnxEngine(graph, THREADS).run(fresh)
        names = list(_convolutions(folded))
        trial = _Trial(folded, seen, fresh, wanted, Path(folder) / "trial.onnx")
        parity, kept = trial.parity(names), names
        if parity < least:
            kept = most_that_hold(trial, names, least)
            parity = trial.parity(kept)
        out.write_bytes(trial.path.read_bytes())
    return Reduction(len(kept), len(names), parity)


def most_that_hold(trial: _Trial, names: Sequence[str], least: float) -> list[str]:
    """The mildest convolutions, as many as together keep their cosines at `least`."""
    ordered = sorted(names, key=lambda name: -trial.parity([name]))
    holds, fails = 0, len(ordered) + 1
    while fails - holds > 1:
        middle = (holds + fails) // 2
        if trial.parity(ordered[:middle]) >= least:
            holds = middle
        else:
            fails = middle
    if not holds:
        raise Misconfigured(
            "this encoder has no convolution that INT8 leaves as it is: run it in fp32",
            code="not_quantisable",
        )
    return ordered[:holds]


@dataclass(frozen=True)
class _Trial:
    folded: Path
    seen: ByteArray
    fresh: ByteArray
    wanted: FloatArray
    path: Path  # of the latest graph

    def parity(self, names: Sequence[str]) -> float:
        """Least cosine when just these convolutions are in INT8."""
        quantize_static(
            self.folded,
            self.path,
            _Ranges(self.folded, self.seen),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[CONVOLUTION],
            nodes_to_quantize=list(names),
            per_channel=True,
            activation_type=QuantType.QUInt8,  # VNNI multiplies unsigned by signed
            weight_type=QuantType.QInt8,
        )
        return cosine(OnnxEngine(self.path, THREADS).run(self.fresh), self.wanted)


class _Ranges(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands out brains, a few at a time."""

    def __init__(self, graph: Path, views: ByteArray) -> None:
        self._name = onnx.load(graph, load_external_data=False).graph.input[0].name
        self._parts: Iterator[ByteArray] = iter(
            np.split(views, range(AT_ONCE, len(views), AT_ONCE))
        )

    def get_next(self) -> dict[str, ByteArray] | None:
        """The next input, or None at the end."""
        part = next(self._parts, None)
        return None if part is None else {self._name: part}


def fold(graph: Path, out: Path) -> None:
    """Write the graph with its constants folded: weights stored as halves become plain ones."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = ERRORS_ONLY
    ort.InferenceSession(str(graph), options, providers=[CPU])
    model = onnx.load(out)
    helper.set_model_props(model, PREPARED)
    onnx.save(model, out)


def _convolutions(graph: Path) -> Iterator[str]:
    for node in onnx.load(graph).graph.node:
        if node.op_type == CONVOLUTION:
            yield node.name
