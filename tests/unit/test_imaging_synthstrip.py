"""SynthStrip with made-up weights: the real ones have a licence that keeps them out of here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import synthstrip
from deepbrainprint.records import Volume


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A lattice of 64³ instead of 192³."""
    monkeypatch.setattr(synthstrip, "LEAST", 64)


@pytest.fixture
def blank():
    return {name: torch.zeros(shape) for name, shape in synthstrip.layout().items()}


def saved(weights, path):
    torch.save({"model_state_dict": weights, "epoch": 3}, path)
    return path


def bright_parts(weights):
    """Weights that lead the image through the outermost skip: distance 2 − 2 × brightness."""
    for name, channel in (
        ("encoder.0.0", 0), ("encoder.0.1", 0), ("remaining.0", 32), ("remaining.1", 0),
    ):  # fmt: skip
        weights[f"{name}.conv.weight"][0, channel, 1, 1, 1] = 1
    weights["remaining.2.conv.weight"][0, 0, 1, 1, 1] = -2
    weights["remaining.2.conv.bias"][0] = 2
    return weights


def test_the_network_finds_what_its_weights_say_where_it_lies_in_the_scan(blank, tmp_path):
    """An L of bright voxels in an oblique scan: any axis mistaken would turn it."""
    data = np.zeros((30, 40, 20), np.float32)
    data[5:20, 8:30, 4:15] = 1
    data[12:20, 8:20, 4:15] = 0
    turn = np.array([[0.9, -0.3, 0.1], [0.35, 0.9, 0], [-0.1, 0.05, 2.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (-40, 20, 300)
    strip = synthstrip.stripper(saved(bright_parts(blank), tmp_path / "synthstrip.1.pt"))
    found = strip(Volume(data, affine))
    assert 2 * (found & (data > 0)).sum() / (found.sum() + data.sum()) > 0.93


def test_random_weights_in_the_right_shape_run(blank, tmp_path):
    torch.manual_seed(0)
    random = {name: torch.randn_like(part) * 0.05 for name, part in blank.items()}
    data = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    strip = synthstrip.stripper(saved(random, tmp_path / "synthstrip.1.pt"))
    found = strip(Volume(data, np.eye(4)))
    assert (found.shape, found.dtype) == (data.shape, bool)


def test_the_network_has_the_size_that_the_paper_gives(blank):
    assert len(blank) == 2 * (12 + 12 + 3)
    assert blank["decoder.5.0.conv.weight"].shape == (32, 96, 3, 3, 3)
    assert blank["remaining.0.conv.weight"].shape == (16, 48, 3, 3, 3)


def test_the_lattice_runs_left_down_and_front_around_the_whole_scan():
    scan = Volume(np.zeros((100, 100, 70), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
    lattice = synthstrip.conformed(scan)
    assert lattice.data.shape == (128, 128, 128)
    middle = lattice.affine @ [63.5, 63.5, 63.5, 1]
    assert np.allclose(middle[:3], (49.5, 49.5, 34.5))
    assert np.array_equal(np.abs(lattice.affine[:3, :3]).sum(axis=0), [1, 1, 1])
    assert [lattice.affine[0, 0], lattice.affine[2, 1], lattice.affine[1, 2]] == [-1, -1, 1]


def test_other_weights_are_refused_by_name(blank, tmp_path):
    blank["decoder.0.0.conv.weight"] = torch.zeros(64, 64, 3, 3)
    with pytest.raises(Misconfigured, match=r"decoder\.0\.0\.conv\.weight") as caught:
        synthstrip.stripper(saved(blank, tmp_path / "w.pt"))
    assert caught.value.code == "wrong_weights"


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a file"])
def test_a_file_that_holds_no_weights_is_refused(content, tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="cannot be read"):
        synthstrip.stripper(path)


def test_a_missing_file_is_named_by_its_setting(tmp_path):
    with pytest.raises(Misconfigured, match="DBP_SYNTHSTRIP_PATH"):
        synthstrip.stripper(tmp_path / "none.pt")
