"""Methods by name: where their weights are looked for, and `similarity` on its own."""

from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.encoder.card import CARD, folder_of, shipped
from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import template
from deepbrainprint.records import Contrast
from deepbrainprint.settings import Settings
from deepbrainprint.workflow import by_similarity, methods
from deepbrainprint.workflow.known import preparing

PEOPLE = 6


def brain(person, scan):
    """A made-up aligned brain: a person's own texture in the template's outline, and noise."""
    detail, noise = np.random.default_rng(person), np.random.default_rng(100 + scan)
    coarse = ndimage.zoom(detail.normal(size=(23, 28, 23)), 8, order=1)[:182, :218, :182]
    data = 128 + 45 * coarse / coarse.std() + noise.normal(0, 12, coarse.shape)
    return np.where(template.mask(), np.clip(data, 1, 255), 0).astype(np.uint8)


def known_people(folder, cache, contrasts=("T1w", "T1w")):
    """A data folder of six people with two scans each, whose brains are in the cache already."""
    cache.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "subject", "session", "contrast"))
        for number in range(2 * PEOPLE):
            path, contrast = folder / f"{number}.nii.gz", contrasts[number % 2]
            path.write_bytes(f"scan {number}".encode())
            writer.writerow((path.name, f"p{number // 2}", number % 2, contrast))
            digest = preparing.digest_of(path, Contrast(contrast))
            np.savez_compressed(cache / f"{digest}.npz", brain=brain(number // 2, number))
            note = {"digest": digest, "seconds": 1.0, "refusal": "", "reasons": []}
            (cache / f"{digest}.json").write_text(json.dumps(note))


def quiet(*_):
    pass


@pytest.mark.slow
def test_similarity_learns_a_threshold_that_parts_people(tmp_path):
    known_people(tmp_path, tmp_path / "out" / "cache")
    folder = by_similarity.learn(tmp_path, tmp_path / "out", Settings(), quiet)
    learned = json.loads((folder / CARD).read_text())
    assert learned["data"] == {"scans": 12, "people": 6}
    thresholds = learned["thresholds"]
    assert thresholds["cross_contrast"] == {}  # nobody was seen in two
    cut = thresholds["same_contrast"]["correlation"]
    one, again, other = (
        methods.BySimilarity().describe(brain(p, s)) for p, s in ((0, 50), (0, 51), (1, 52))
    )
    assert methods.against(one, methods.Stack.of([again]))["correlation"][0] > cut
    assert methods.against(one, methods.Stack.of([other]))["correlation"][0] < cut


@pytest.mark.slow
def test_a_manifest_of_nobody_seen_twice_teaches_no_threshold(tmp_path):
    known_people(tmp_path, tmp_path / "out" / "cache")
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join([lines[0], *lines[1::2]]))
    outcome = CliRunner().invoke(
        app,
        [
            "train",
            "--recipe",
            "similarity",
            "--data",
            str(tmp_path),
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert outcome.exception.code == "too_few_pairs"


def test_weights_are_looked_for_in_the_folder_of_the_method(tmp_path):
    shutil.copytree(shipped(), tmp_path / "brain-id")
    assert folder_of("brain-id", tmp_path) == tmp_path / "brain-id"


def test_a_method_without_weights_says_how_to_get_them(tmp_path):
    with pytest.raises(Misconfigured, match="train --recipe anatcl"):
        folder_of("anatcl", tmp_path)


@pytest.mark.parametrize("command", ["fingerprint", "compare"])
def test_an_unknown_method_names_the_known_ones(tmp_path, command):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)
    paths = [str(path)] * (2 if command == "compare" else 1)
    outcome = CliRunner().invoke(app, [command, *paths, "--method", "palmistry"])
    assert outcome.exception.code == "unknown_method"
    assert "encoder, deepbrainprint, brain-id, anatcl, similarity" in str(outcome.exception)


@pytest.mark.slow
def test_similarity_finds_a_patient_more_alike_than_another(shared_data):
    first, second, other = (
        str(shared_data / f"{name}.nii.gz")
        for name in ("repeat/study1_T1W", "repeat/study2_T1W", "t1w/sub-01_T1w")
    )
    likeness = {}
    for name, path in (("same", second), ("other", other)):
        words = ["compare", first, path, "--method", "similarity", "--json"]
        outcome = CliRunner().invoke(app, words)
        assert outcome.exit_code == 0, outcome.output
        likeness[name] = json.loads(outcome.stdout)
    assert likeness["same"]["score"] > likeness["other"]["score"]
    assert len(likeness["same"]["scores"]) == 11
    assert "train --recipe similarity" in likeness["same"]["words"]  # none was learned here


@pytest.mark.slow
def test_what_similarity_keeps_of_a_scan_is_written_like_a_fingerprint(shared_data, tmp_path):
    path, out = shared_data / "t1w" / "sub-01_T1w.nii.gz", tmp_path / "kept.npz"
    words = ["fingerprint", str(path), "--method", "similarity", "--out", str(out)]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    with np.load(out, allow_pickle=False) as kept:
        assert kept["vectors"].shape == (1, 45 * 54 * 45)
        assert kept["encoder_versions"].tolist() == ["4 mm"]
