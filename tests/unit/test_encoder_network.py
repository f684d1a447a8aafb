"""The network: what it reads, its shape, and how it leaves torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.card import GRAPH, read_card, write_card  # noqa: E402
from deepbrainprint.encoder.export import PARITY, export  # noqa: E402
from deepbrainprint.encoder.network import (  # noqa: E402
    INSIDE,
    EncoderNetwork,
    PlaneReader,
    averaging_matrix,
)
from deepbrainprint.encoder.recipe import BRAIN, WHOLE, PlaneRecipe, named_recipe  # noqa: E402
from deepbrainprint.encoder.runtime import open_encoder  # noqa: E402
from deepbrainprint.errors import BadStudy, Misconfigured  # noqa: E402
from deepbrainprint.records import InputForm  # noqa: E402

RECIPE = PlaneRecipe("small", planes=(60, 90), pixel_mm=5.0, window=BRAIN)


def _slices(count=3, seed=0):
    levels = np.random.default_rng(seed).integers(1, 256, (count, 2, 182, 218))
    levels[..., :30] = 0  # outside the brain
    return levels.astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder as `deepbrainprint train` leaves it, with untrained weights."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("encoder")
    exported = export(EncoderNetwork(RECIPE), _slices(), made / GRAPH)
    assert exported.parity >= PARITY
    write_card(made, {"version": "small-1", "planes": [60, 90], "calibration": {"a": 1}})
    return made


def test_averaging_keeps_the_mean_of_what_a_pixel_covers():
    matrix = averaging_matrix(0, 5, length=5, pixel_mm=2.5)
    expected = torch.tensor([[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]])
    torch.testing.assert_close(matrix, expected)


def test_the_reader_ignores_brightness_and_gain():
    read = PlaneReader(RECIPE)
    dark = torch.tensor(_slices() // 4 + 1) * (torch.tensor(_slices()) > 0)
    bright = dark * 2 + 60 * (dark > 0)
    torch.testing.assert_close(read(dark), read(bright), atol=1e-4, rtol=0)


def test_the_reader_puts_the_brain_at_its_level_and_the_outside_at_zero():
    planes = PlaneReader(PlaneRecipe("one", planes=(90, 60), pixel_mm=1.0, window=WHOLE))(
        torch.tensor(_slices())
    )
    assert planes[..., :30].abs().max() == 0
    assert planes[..., 30:].mean().item() == pytest.approx(INSIDE, abs=1e-3)


def test_fingerprints_have_512_numbers_and_unit_length():
    vectors = EncoderNetwork(RECIPE).eval()(torch.tensor(_slices()))
    assert vectors.shape == (3, 512)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_the_paper_s_single_slice_is_a_recipe_too():
    recipe = named_recipe("deepbrainprint")
    vectors = EncoderNetwork(recipe).eval()(torch.ones(1, 1, 182, 218, dtype=torch.uint8))
    assert recipe.pixels() == (182, 218)
    assert vectors.shape == (1, 512)


def test_an_unknown_recipe_is_refused_with_the_names_there_are():
    with pytest.raises(Misconfigured, match="first-light"):
        named_recipe("nonsense")


def test_the_exported_graph_gives_the_fingerprints_of_torch(folder):
    torch.manual_seed(0)
    network = EncoderNetwork(RECIPE).eval()
    with torch.inference_mode():
        wanted = network(torch.tensor(_slices(5, seed=1))).numpy()
    made = open_encoder(folder).encode(_slices(5, seed=1))
    assert made.dtype == np.float32
    assert (made * wanted).sum(axis=1).min() >= PARITY


def test_the_opened_encoder_says_its_version_what_it_reads_and_its_calibration(folder):
    encoder = open_encoder(folder)
    assert (encoder.version, encoder.calibration) == ("small-1", {"a": 1})
    assert encoder.form == InputForm("planes", (60, 90))


def test_slices_of_another_shape_are_refused(folder):
    with pytest.raises(BadStudy, match="planes of its card"):
        open_encoder(folder).encode(np.ones((1, 3, 182, 218), dtype=np.uint8))


def test_empty_slices_are_refused(folder):
    with pytest.raises(BadStudy, match="no brain"):
        open_encoder(folder).encode(np.zeros((1, 2, 182, 218), dtype=np.uint8))


def test_a_damaged_graph_is_refused_before_it_is_run(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    graph = tmp_path / "copy" / GRAPH
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(Misconfigured, match="does not match the digest"):
        open_encoder(tmp_path / "copy")


@pytest.mark.parametrize("name", [GRAPH, "card.json"])
def test_a_missing_file_is_named(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(Misconfigured, match=name):
        open_encoder(tmp_path / "copy")


def test_a_card_without_a_calibration_is_damaged(folder, tmp_path):
    document = json.loads((folder / "card.json").read_text())
    del document["calibration"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    with pytest.raises(Misconfigured, match="damaged"):
        read_card(tmp_path)


def test_the_runtime_does_not_load_torch():
    code = "import sys, deepbrainprint.encoder.runtime as r; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
