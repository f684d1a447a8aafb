"""The convolutions of an exported graph in half precision, for GPUs.

Only they and what merely passes values on between them; sums over whole planes, normalisation
and the linear map at the end stay in float32, where half precision would overflow or lose digits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from deepbrainprint.encoder.quantise import CONVOLUTION, fold

PASSING = frozenset({"Relu", "LeakyRelu", "MaxPool", "Add"})
SUFFIX = ".half"


def fp16(graph: Path, out: Path) -> int:
    """Write to `out` the graph with half-precision convolutions; returns how many there are."""
    with tempfile.TemporaryDirectory(prefix="dbp-fp16-") as folder:
        folded = Path(folder) / "folded.onnx"
        fold(graph, folded)
        model = onnx.load(folded)
    rewriter = _Rewriter(model.graph)
    nodes = rewriter.rewritten()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return sum(node.op_type == CONVOLUTION for node in nodes)


class _Rewriter:
    """Walks nodes in their order and remembers which values there are in half precision."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._halves: set[str] = set()  # values that are only there in half precision
        self._both: set[str] = set()  # names of casts already written
        self._nodes: list[NodeProto] = []

    def rewritten(self) -> list[NodeProto]:
        """All nodes, with casts where the precision changes."""
        for node in self._graph.node:
            if self._wants_half(node):
                node.input[:] = [self._half(name) for name in node.input]
                self._halves.update(node.output)
            else:
                node.input[:] = [self._full(name) for name in node.input]
            self._nodes.append(node)
        return self._nodes

    def _wants_half(self, node: NodeProto) -> bool:
        if node.op_type == CONVOLUTION:
            return True
        return node.op_type in PASSING and all(name in self._halves for name in node.input)

    def _half(self, name: str) -> str:
        if name in self._halves or not name:
            return name
        halved = name + SUFFIX
        if halved not in self._both:
            self._both.add(halved)
            self._make_half(name, halved)
        return halved

    def _make_half(self, name: str, halved: str) -> None:
        if name not in self._constants:
            self._nodes.append(helper.make_node("Cast", [name], [halved], to=TensorProto.FLOAT16))
            return
        values = numpy_helper.to_array(self._constants[name]).astype(np.float16)
        self._graph.initializer.append(numpy_helper.from_array(values, halved))

    def _full(self, name: str) -> str:
        if name not in self._halves:
            return name
        widened = name + ".full"
        if widened not in self._both:
            self._both.add(widened)
            self._nodes.append(helper.make_node("Cast", [name], [widened], to=TensorProto.FLOAT))
        return widened
