"""Runtimes of the encoder: the same fingerprint from each, and what happens where one is missing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from deepbrainprint.encoder import halves, quantise, runtime  # noqa: E402
from deepbrainprint.encoder.card import GRAPH, read_card, write_card  # noqa: E402
from deepbrainprint.encoder.export import WEIGHTS  # noqa: E402
from deepbrainprint.encoder.recipe import BRAIN, PlaneRecipe  # noqa: E402
from deepbrainprint.encoder.runtime import LoadedEncoder, open_encoder  # noqa: E402
from deepbrainprint.encoder.runtime_onnx import OnnxEngine  # noqa: E402
from deepbrainprint.encoder.runtime_torch import TorchEngine  # noqa: E402
from deepbrainprint.encoder.untrained import write_untrained  # noqa: E402
from deepbrainprint.errors import BadStudy, Misconfigured  # noqa: E402
from deepbrainprint.records import InputForm  # noqa: E402

RECIPE = PlaneRecipe("small", planes=(60, 90), pixel_mm=5.0, window=BRAIN)
EXACT, REDUCED = 0.9999, 0.999


def _brains(count, seed=0):
    """Smooth blobs (count, 2, 182, 218): what is far from noise keeps fingerprints apart."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.uniform(1, 255, (count, 2, 7, 8)))
    levels = torch.nn.functional.interpolate(coarse, (182, 218), mode="bilinear").numpy()
    levels[..., :30] = 0
    return levels.astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder with random weights, its features centred on some brains."""
    made = tmp_path_factory.mktemp("encoder")
    write_untrained(RECIPE, _brains(8, seed=1), made)
    return made


@pytest.fixture
def copied(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def _cosine(made, wanted):
    return quantise.cosine(made, wanted)


def test_the_brains_of_these_tests_have_fingerprints_that_differ(folder):
    vectors = open_encoder(folder).encode(_brains(6))
    between = vectors @ vectors.T
    assert between[~np.eye(6, dtype=bool)].max() < 0.99


def test_torch_and_onnx_give_the_same_fingerprints(folder):
    brains = _brains(6)
    made = [open_encoder(folder, name).encode(brains) for name in ("onnx", "torch")]
    assert made[1].dtype == np.float32
    assert made[1].shape == (6, 512)
    assert _cosine(*made) >= EXACT


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs g++")
def test_compiled_torch_gives_the_fingerprints_of_eager_torch(folder):
    brains, card = _brains(2), read_card(folder)
    compiled = TorchEngine.opened(folder, card, 1, compiled=True).run(brains)
    assert _cosine(compiled, open_encoder(folder, "torch").encode(brains)) >= EXACT


def test_bfloat16_is_in_the_convolutions_and_nowhere_else(folder):
    engine = TorchEngine.opened(folder, read_card(folder), 1, reduced=True)
    seen = {}
    for name, module in engine._network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    vectors = engine.run(_brains(2))
    assert seen["reader"] == torch.float32
    assert seen["backbone.backbone.layers.0"] == torch.bfloat16
    assert seen["backbone"] == torch.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_the_number_of_threads_is_the_one_asked_for(folder, name):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        engine = open_encoder(folder, name, threads=2)._engine
        found = (
            torch.get_num_threads()
            if name == "torch"
            else engine._session.get_session_options().intra_op_num_threads
        )
        assert found == 2
    finally:
        torch.set_num_threads(before)


def test_idle_threads_do_not_hold_a_core_that_others_want(folder):
    options = open_encoder(folder)._engine._session.get_session_options()
    spin = options.get_session_config_entry("session.intra_op.spin_duration_us")
    assert 0 < int(spin) <= 100


def test_the_graph_may_call_its_input_what_it_likes(folder, tmp_path):
    model = onnx.load(folder / GRAPH)
    old = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["brains" if name == old else name for name in node.input]
    model.graph.input[0].name = "brains"
    onnx.save(model, tmp_path / GRAPH)
    assert OnnxEngine(tmp_path / GRAPH, 1).run(_brains(2)).shape == (2, 512)


def test_opening_with_onnx_does_not_load_torch(folder):
    code = (
        "import sys, pathlib; from deepbrainprint.encoder.runtime import open_encoder; "
        f"open_encoder(pathlib.Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_runtime_is_refused_with_the_names_there_are(folder):
    with pytest.raises(Misconfigured, match="onnx, torch, tensorrt, auto"):
        open_encoder(folder, "abacus")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here"
)
def test_tensorrt_is_refused_with_what_to_install_where_it_is_missing(folder):
    with pytest.raises(Misconfigured, match=r"pip install 'deepbrainprint\[gpu\]'") as refused:
        open_encoder(folder, "tensorrt")
    assert refused.value.code == "runtime_missing"


@pytest.mark.parametrize(
    ("driver", "installed", "expected"),
    [(True, True, "tensorrt"), (True, False, "onnx"), (False, True, "onnx")],
)
def test_auto_is_tensorrt_only_with_a_gpu_and_the_library(
    monkeypatch, tmp_path, driver, installed, expected
):
    spec = importlib.machinery.ModuleSpec("tensorrt", None) if installed else None
    monkeypatch.setattr(runtime, "DRIVER", tmp_path if driver else tmp_path / "none")
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda _: spec)
    assert runtime.chosen("auto") == expected


def test_missing_weights_are_named_and_onnx_goes_on_without_them(copied):
    (copied / WEIGHTS).unlink()
    with pytest.raises(Misconfigured, match=WEIGHTS):
        open_encoder(copied, "torch")
    assert open_encoder(copied).encode(_brains(1)).shape == (1, 512)


def test_weights_that_lack_a_layer_are_refused(copied):
    held = load_file(copied / WEIGHTS)
    del held["centre"]
    save_file(held, copied / WEIGHTS)
    write_card(copied, read_card(copied).document)
    with pytest.raises(Misconfigured, match="does not fit the recipe"):
        open_encoder(copied, "torch")


def test_weights_that_are_cut_short_are_refused(copied):
    content = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(Misconfigured, match="does not match the digest"):
        open_encoder(copied, "torch")


def test_a_volume_of_another_size_is_refused_with_what_the_card_wants(copied):
    form = InputForm("volume", (), 3)
    document = json.loads((copied / "card.json").read_text())
    write_card(copied, document | {"input": asdict(form)})
    encoder = LoadedEncoder(read_card(copied), engine=None)
    assert encoder.form == form
    with pytest.raises(BadStudy, match="volume of its card"):
        encoder.encode(np.ones((1, 2, 182, 218), dtype=np.uint8))


def test_halved_graphs_keep_input_output_and_fingerprints(folder, tmp_path):
    count = halves.fp16(folder / GRAPH, tmp_path / GRAPH)
    model = onnx.load(tmp_path / GRAPH)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [types[n.input[1]] for n in model.graph.node if n.op_type == "Conv"]
    assert weights == [onnx.TensorProto.FLOAT16] * count
    assert count == 20
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    made = OnnxEngine(tmp_path / GRAPH, 1).run(_brains(4))
    assert _cosine(made, open_encoder(folder).encode(_brains(4))) >= REDUCED


def test_a_graph_is_quantised_whole_where_nothing_forbids_it(folder, tmp_path):
    found = quantise.int8(folder / GRAPH, _brains(4), _brains(4, 2), tmp_path / GRAPH, least=-1)
    assert (found.reduced, found.convolutions) == (20, 20)
    assert _in_int8(tmp_path / GRAPH) == 20


@pytest.mark.slow
def test_only_convolutions_that_the_fingerprints_bear_are_quantised(folder, tmp_path):
    whole = quantise.int8(folder / GRAPH, _brains(4), _brains(4, 2), tmp_path / "w", least=-1)
    least = (1 + whole.parity) / 2
    found = quantise.int8(folder / GRAPH, _brains(4), _brains(4, 2), tmp_path / GRAPH, least=least)
    assert 0 < found.reduced < found.convolutions
    assert found.parity >= least
    assert _in_int8(tmp_path / GRAPH) == found.reduced


class _Errors:
    """Stands for a graph in which each convolution costs so much of the cosine."""

    def __init__(self, errors):
        self.errors = errors

    def parity(self, names):
        return 1 - sum(self.errors[name] for name in names)


def test_the_mildest_convolutions_are_kept_until_the_cosine_is_used_up():
    errors = {"stem": 0.4, "first": 0.1, "second": 0.2, "third": 0.05}
    assert quantise.most_that_hold(_Errors(errors), list(errors), 0.8) == ["third", "first"]


def test_an_encoder_that_bears_no_quantised_convolution_is_refused():
    with pytest.raises(Misconfigured, match="fp32"):
        quantise.most_that_hold(_Errors({"stem": 0.4}), ["stem"], 0.9)


def _in_int8(path):
    nodes = onnx.load(path).graph.node
    widened = {out for n in nodes if n.op_type == "DequantizeLinear" for out in n.output}
    return sum(n.op_type == "Conv" and n.input[1] in widened for n in nodes)
