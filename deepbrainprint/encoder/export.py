"""From trained network to safetensors and ONNX, checked against torch before it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from deepbrainprint.encoder.card import WEIGHTS
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import ByteArray, FloatArray

OPSET = 17
PARITY = 0.9999  # least cosine between torch in fp32 and the kept graph
SMALL = 1024  # elements; smaller tensors stay in fp32


@dataclass(frozen=True)
class Exported:
    """What was written: `fp16` or `fp32` storage, its parity with torch and its size."""

    precision: str
    parity: float
    size_bytes: int


def export(network: EncoderNetwork, probes: ByteArray, path: Path) -> Exported:
    """Write the graph uint8 (B, …) → float32 (B, 512) to `path`, and the weights beside it.

    The graph's weights are stored in half precision and widened inside it when the fingerprints of
    `probes` stay the same to a cosine of `PARITY`; otherwise in single precision. The safetensors
    file, for torch, has half precision where the graph has.
    """
    network.eval()
    _trace(network, probes[:1], path)
    model = onnx.load(path)
    half = halved(model)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(probes)).numpy()
    for precision, candidate in (("fp16", half), ("fp32", model)):
        onnx.checker.check_model(candidate)
        parity = _parity(candidate, probes, wanted)
        if parity >= PARITY:
            onnx.save(candidate, path)
            _save_weights(network, path.with_name(WEIGHTS), half=precision == "fp16")
            return Exported(precision, parity, path.stat().st_size)
    raise Misconfigured(
        f"the exported graph disagrees with torch (cosine {parity:.6f}): "
        "install the pinned versions",
        code="export_differs",
    )


def _save_weights(network: EncoderNetwork, path: Path, *, half: bool) -> None:
    """Write all tensors, large ones in half precision if asked, for `network.load_state_dict`."""
    held = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if half:
        held = {
            name: tensor.half()
            if tensor.is_floating_point() and tensor.numel() >= SMALL
            else tensor
            for name, tensor in held.items()
        }
    save_file(held, path)
    path.chmod(0o644)  # the library leaves it to its owner alone; services run as others


def _trace(network: EncoderNetwork, example: ByteArray, path: Path) -> None:
    torch.onnx.export(
        network,
        (torch.from_numpy(example),),
        str(path),
        input_names=["views"],
        output_names=["fingerprints"],
        dynamic_axes={"views": {0: "batch"}, "fingerprints": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights are stored as fp16, each followed by a Cast to fp32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    casts = []
    for tensor in copy.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _parity(model: onnx.ModelProto, probes: ByteArray, wanted: FloatArray) -> float:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"views": probes})
    return float((made * wanted).sum(axis=1).min())
