"""`deepbrainprint bench encode`: its brains, its rows, its goals and its workers."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from deepbrainprint.bench.encode import figures, tables, variants, worker
from deepbrainprint.bench.encode.measuring import LOADED, Measured
from deepbrainprint.bench.encode.networks import Network, untrained
from deepbrainprint.bench.encode.process import worker as started
from deepbrainprint.bench.encode.variants import Variant, why_not
from deepbrainprint.bench.encode.views import generated, positions
from deepbrainprint.bench.encode.workload import SIZES
from deepbrainprint.cli import app
from deepbrainprint.encoder.card import shipped
from deepbrainprint.encoder.runtime import open_encoder
from deepbrainprint.errors import TryAgain
from deepbrainprint.imaging import slices, template
from deepbrainprint.records import InputForm

ONE_SLICE = InputForm("planes", (90,))
TORCH, ONNX = Variant("torch", "fp32", 2), LOADED


def _measured(*, trained=True, form=ONE_SLICE):
    """Three rounds of two runtimes, ONNX twice as fast as torch whatever else the machine did."""
    network = Network("net", trained, form, {}, np.zeros((1, *form.shape), np.uint8))
    return Measured(
        network,
        times={(TORCH, 1): [20.0, 60.0, 22.0], (ONNX, 1): [10.0, 30.0, 11.0]},
        processor={(TORCH, 1): [40.0, 41.0, 42.0], (ONNX, 1): [19.0, 21.0, 20.0]},
        load_seconds={
            ONNX: [{"import": 0.1, "open": 0.2, "first": at} for at in (0.05, 0.07, 0.9)]
        },
        peak_rss_mb={TORCH: 400.0, ONNX: 200.0},
        parity={ONNX: 0.99995, Variant("onnx", "int8", 2): 0.9995},
        reference=TORCH,
    )


def _goal(found, words):
    (goal,) = [goal for goal in figures.goals([found]) if words in goal.goal]
    return goal


def test_generated_brains_are_dark_outside_and_each_is_another():
    brains = generated(ONE_SLICE, 3, seed=5)
    assert brains.shape == (3, 1, 182, 218)
    assert brains.dtype == np.uint8
    assert 0.2 < (brains > 0).mean() < 0.7
    assert (brains[:, :, :5] == 0).all()
    assert np.abs(brains[0].astype(int) - brains[1]).mean() > 5


def test_the_same_seed_draws_the_same_brains_and_another_seed_others():
    first, again, other = (generated(ONE_SLICE, 1, seed) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_a_plane_is_sampled_where_imaging_cuts_it():
    brain = np.round(template.reference().data).astype(np.uint8)
    x, y, z = positions(InputForm("planes", (40, 90))).astype(int)
    assert (brain[x, y, z] == slices.axial(brain, (40, 90))).all()


def test_a_volume_is_sampled_at_the_middle_of_its_cubes():
    form = InputForm("volume", (), 3)
    at = positions(form)
    assert at.shape == (3, *form.shape)
    assert at[:, 0, 0, 0].tolist() == [1, 1, 1]
    assert (at[:, 1, 0, 0] - at[:, 0, 0, 0]).tolist() == [0, 0, 3]


def test_every_row_of_the_table_has_a_name_of_its_own():
    rows = [(each.name, each.threads) for each in variants.variants(SIZES["full"])]
    assert len(set(rows)) == len(rows)
    assert {("onnx int8", 1), ("torch.compile fp32", 2), ("tensorrt fp16 on GPU", 1)} <= set(rows)


def test_what_cannot_run_here_says_why(monkeypatch, tmp_path):
    full, smoke = SIZES["full"], SIZES["smoke"]
    (tmp_path / variants.WEIGHTS).touch()
    compiled = replace(TORCH, compiled=True)
    monkeypatch.setattr(variants, "DRIVER", tmp_path / "none")
    assert why_not(TORCH, tmp_path, full) == ""
    assert "encoder.safetensors" in why_not(TORCH, tmp_path / "elsewhere", full)
    assert "GPU" in why_not(replace(ONNX, gpu=True), tmp_path, full)
    assert "--size full" in why_not(compiled, tmp_path, smoke) or not shutil.which("g++")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in why_not(compiled, tmp_path, full)


def test_a_ratio_is_taken_within_a_round_so_that_noise_falls_out():
    rows = {row["name"]: row for row in figures.results(_measured())}
    ratio = rows["onnx fp32"]["times_as_fast_as_torch"]
    assert ratio == {"median": 2.0, "least": 2.0, "most": 2.0}
    assert rows["onnx fp32"]["ms_per_scan"] == {"median": 11.0, "least": 10.0, "most": 30.0}


def test_a_slice_is_a_share_of_its_scan_and_a_volume_has_none():
    (fourteen,) = [
        row
        for row in figures.results(_measured(form=InputForm("planes", tuple(range(14)))))
        if row["runtime"] == "onnx"
    ]
    assert fourteen["ms_per_slice"]["median"] == pytest.approx(11 / 14)
    assert fourteen["slices_per_second"]["median"] == pytest.approx(14e3 / 11)
    volumes = figures.results(_measured(form=InputForm("volume", (), 3)))
    assert not any("ms_per_slice" in row for row in volumes)


def test_the_slice_goal_is_judged_by_the_median_of_the_service_s_own_runtime():
    goal = _goal(_measured(), "12 ms")
    assert (goal.found, goal.holds) == (11.0, True)
    slower = _measured()
    slower.times[ONNX, 1] = [10.0, 12.5, 13.0]
    assert _goal(slower, "12 ms").holds is False


def test_loading_is_judged_by_the_median_of_fresh_processes():
    goal = _goal(_measured(), "from opening")
    assert goal.found == pytest.approx(0.27)
    assert goal.holds


@pytest.mark.parametrize(("variant", "words"), [(ONNX, "fp32"), (None, "fewer bits")])
def test_one_runtime_that_differs_fails_the_goal(variant, words):
    found = _measured()
    found.parity[variant or Variant("torch", "bf16", 1)] = 0.998
    assert _goal(found, f"least cosine between runtimes in {words}").holds is False


def test_fewer_bits_are_not_judged_on_random_weights():
    goals = [goal.goal for goal in figures.goals([_measured(trained=False)])]
    assert any("in fp32" in words for words in goals)
    assert not any("fewer bits" in words for words in goals)


def test_goals_of_a_gpu_are_there_only_where_one_ran():
    found = _measured()
    assert not any("GPU" in goal.goal for goal in figures.goals([found]))
    gpu = Variant("tensorrt", "fp16", 1, gpu=True)
    found.peak_rss_mb[gpu] = 900.0
    found.times |= {(gpu, 1): [0.25, 0.2, 0.4], (gpu, 64): [0.021, 0.019, 0.03]}
    found.processor |= {(gpu, 1): [1.0], (gpu, 64): [1.0]}
    assert _goal(found, "0.3 ms for one slice on a GPU").holds
    assert _goal(found, "50000 slices/s").holds is False


def test_the_tables_have_one_row_for_each_variant():
    found = _measured()
    document = {
        "results": list(figures.results(found)),
        "openings": list(figures.openings(found)),
        "parity": list(figures.parities(found)),
        "left_out": [{"network": "net", "why": "no GPU", "name": n, "threads": 1} for n in "ab"],
    }
    speeds = tables.speeds(document, "net")
    assert [row["runtime"] for row in speeds] == ["torch fp32", "onnx fp32"]
    assert (speeds[1]["1"], speeds[1]["core-ms"]) == ("11.00", "20.00")
    assert speeds[1]["× torch, batch 1"] == "2.00 (2.00–2.00)"
    (opened,) = tables.openings(document, "net")
    assert opened["least cosine"] == "0.999950"
    assert speeds[1]["most slices/s"] == "91"
    assert tables.left_out(document) == ["Left out of net, no GPU: a (1 threads), b (1 threads)"]


def test_the_untrained_network_tells_brains_apart_so_that_parity_means_something(tmp_path):
    untrained(tmp_path / "made")
    encoder = open_encoder(tmp_path / "made")
    vectors = encoder.encode(generated(encoder.form, 6, seed=9))
    between = vectors @ vectors.T
    assert encoder.form.shape == (1, 182, 218)
    assert between[~np.eye(6, dtype=bool)].mean() < 0.7


def test_a_worker_opens_times_and_hands_out_fingerprints(tmp_path):
    brains = generated(open_encoder().form, 2, seed=1)
    np.save(tmp_path / "views.npy", brains)
    with started(replace(LOADED, threads=1), shipped(), tmp_path / "views.npy") as each:
        assert set(each.load_seconds) == {"import", "open", "first"}
        timing = each.times(3, 2)
        assert len(timing.seconds) == 2
        assert timing.processor_seconds > 0
        assert each.peak_rss_mb > 50
        made = each.vectors(tmp_path / "vectors.npy")
    assert made == pytest.approx(open_encoder().encode(brains), abs=1e-5)
    assert each.process.poll() is not None


def test_a_worker_that_cannot_open_says_why(tmp_path):
    np.save(tmp_path / "views.npy", np.ones((1, 1, 182, 218), np.uint8))
    failing = started(LOADED, tmp_path / "nowhere", tmp_path / "views.npy")
    with pytest.raises(TryAgain, match=r"card\.json is missing"), failing:
        pass


@pytest.mark.parametrize(("warm_up", "calls_made"), [(True, 4), (False, 3)])
def test_the_time_of_a_warm_up_does_not_count(monkeypatch, warm_up, calls_made):
    clock = iter(range(100))
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(clock))
    calls = []

    class Recorder:
        def encode(self, views):
            calls.append(len(views))

    views = np.zeros((4, 1, 2, 2), np.uint8)
    seconds = worker.timed(Recorder(), views, 3, warm_up=warm_up)
    assert calls == [4] * calls_made
    assert seconds == [1, 1, 1]


def test_an_unknown_size_is_a_wrong_use():
    assert CliRunner().invoke(app, ["bench", "encode", "--size", "huge"]).exit_code == 2


@pytest.mark.slow
def test_the_command_measures_an_encoder_and_says_what_it_left_out(tmp_path):
    untrained(tmp_path / "encoder")
    where = ["--encoder", str(tmp_path / "encoder"), "--out", str(tmp_path / "found.json")]
    how = ["--size", "smoke", "--patience", "0", "--json"]
    done = CliRunner().invoke(app, ["bench", "encode", *how, *where])
    document = json.loads(Path(tmp_path / "found.json").read_text())
    assert json.loads(done.stdout) == document
    assert done.exit_code == (1 if document["failed"] else 0)
    assert {row["batch"] for row in document["results"]} == {1, 2}
    assert {row["name"] for row in document["openings"]} >= {"onnx fp32", "torch fp32"}
    assert any("--size full" in row["why"] for row in document["left_out"])
    assert document["networks"][0]["input"] == asdict(ONE_SLICE) | {"planes": [90]}
    assert 0 <= document["others_share_of_busy"] <= 1
