"""TensorRT against ONNX Runtime. Needs an NVIDIA GPU, torch for CUDA and the extra `gpu`."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("tensorrt", reason="TensorRT is not installed: pip install deepbrainprint[gpu]")
torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch finds no NVIDIA GPU here", allow_module_level=True)

from deepbrainprint.bench.encode.views import generated  # noqa: E402
from deepbrainprint.encoder import halves, quantise  # noqa: E402
from deepbrainprint.encoder.card import GRAPH, read_card, shipped  # noqa: E402
from deepbrainprint.encoder.runtime import open_encoder  # noqa: E402
from deepbrainprint.encoder.runtime_onnx import OnnxEngine  # noqa: E402
from deepbrainprint.encoder.runtime_tensorrt import (  # noqa: E402
    LARGEST,
    TensorRtEngine,
    plan_path,
)

LOAD_SECONDS = 0.3


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Engines built by one test serve the others."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def brains():
    return generated(read_card(None).form, 6, seed=1)


@pytest.fixture(scope="module")
def wanted(brains):
    return OnnxEngine(shipped() / GRAPH, 2).run(brains)


def _opened(cache):
    return TensorRtEngine.opened(shipped() / GRAPH, read_card(None).onnx_sha256, cache)


def test_tensorrt_gives_the_fingerprints_of_onnx_runtime(cache, brains, wanted):
    assert quantise.cosine(_opened(cache).run(brains), wanted) >= 0.9999


def test_half_precision_comes_from_the_graph_and_stays_close(tmp_path, brains, wanted):
    halves.fp16(shipped() / GRAPH, tmp_path / GRAPH)
    made = TensorRtEngine.opened(tmp_path / GRAPH, "half", tmp_path).run(brains)
    assert quantise.cosine(made, wanted) >= quantise.PARITY


def test_one_scan_and_more_than_a_lane_holds_give_the_same(cache, brains, wanted):
    engine = _opened(cache)
    assert quantise.cosine(engine.run(brains[:1]), wanted[:1]) >= 0.9999
    many = np.resize(brains, (LARGEST + 3, *brains.shape[1:]))
    assert quantise.cosine(engine.run(many), np.resize(wanted, (LARGEST + 3, 512))) >= 0.9999


def test_a_built_engine_opens_within_the_time_promised(cache, brains):
    _opened(cache).run(brains[:1])
    started = time.perf_counter()
    _opened(cache).run(brains[:1])
    assert time.perf_counter() - started < LOAD_SECONDS


def test_a_damaged_engine_is_built_anew(cache, brains, wanted):
    _opened(cache)
    kept = plan_path(cache, read_card(None).onnx_sha256)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert quantise.cosine(_opened(cache).run(brains), wanted) >= 0.9999


def test_the_service_can_ask_for_it_by_name(monkeypatch, cache, brains, wanted):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    made = open_encoder(None, "tensorrt").encode(brains)
    assert quantise.cosine(made, wanted) >= 0.9999
