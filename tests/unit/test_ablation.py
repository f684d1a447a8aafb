"""Studies of what each part of the published recipe contributes."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from deepbrainprint.encoder import two_branches
from deepbrainprint.encoder.anatomy import from_brain
from deepbrainprint.workflow import ablation, training
from deepbrainprint.workflow.known.people import KnownPeople

pytestmark = pytest.mark.slow  # trains, if only a little


@pytest.fixture
def small(monkeypatch):
    """Two made-up anatomies, nobody real, and a study of two variants at ten millimetres."""
    x, y, z = np.ogrid[:182, :218, :182]
    inside = ((x - 91) / 65) ** 2 + ((y - 109) / 85) ** 2 + ((z - 90) / 60) ** 2 < 1
    textures = [128 + 90 * np.sin(x / w) * np.cos(y / w) + 0 * z for w in (7, 9)]
    made = [from_brain(str(w), np.where(inside, t, 0).astype(np.uint8))
            for w, t in enumerate(textures)]  # fmt: skip
    nobody = KnownPeople((), (), np.empty(0, dtype=np.int64), None)
    bench = ablation._Bench(made, made, nobody, np.empty(0, dtype=bool))
    monkeypatch.setattr(ablation._Bench, "of", lambda *_: bench)
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 2)
    monkeypatch.setattr(training, "GROUPS", 1)
    monkeypatch.setattr(training, "GROUP_PEOPLE", 4)
    monkeypatch.setattr("deepbrainprint.encoder.whitening.PEOPLE", 8)
    changes = {"pixel_mm": 10.0, "people": 4, "head_width": 16, "anatomies": (2,)}
    monkeypatch.setattr(ablation, "SHORT", ablation.SHORT | changes)
    question = ablation.Study("Which?", {"a": {"beta": "step"}, "b": {"beta": "constant"}})
    monkeypatch.setattr(ablation, "STUDIES", {"small": question})


def test_every_variant_is_trained_with_every_seed_and_kept(small, tmp_path):
    seen = []
    effort = ablation.Effort(steps=1, seeds=2)
    document = ablation.study("small", tmp_path, tmp_path, effort, lambda *at: seen.append(at))
    assert [what for what, _, _ in seen] == [
        "a, seed 1", "b, seed 1", "a, seed 2", "b, seed 2", "done",
    ]  # fmt: skip
    kept = json.loads((tmp_path / "small.json").read_text())
    assert kept["variants"] == document["variants"]
    for variant in ("a", "b"):
        summary = document["variants"][variant]
        assert summary["seeds"] == [1, 2]
        assert 0 <= summary["same_contrast_rank1"]["least"] <= 1


def test_a_study_that_was_stopped_trains_only_what_is_left(small, tmp_path, monkeypatch):
    quiet = lambda *_: None  # noqa: E731
    first = ablation.study("small", tmp_path, tmp_path, ablation.Effort(1, 1), quiet)
    trained = []
    monkeypatch.setattr(
        ablation,
        "fit",
        lambda objective, recipe, *_: trained.append(recipe.seed) or objective.network.eval(),
    )
    second = ablation.study("small", tmp_path, tmp_path, ablation.Effort(1, 2), quiet)
    assert trained == [2, 2]
    assert second["variants"]["a"]["seeds"] == [1, 2]
    assert first["variants"]["a"]["seeds"] == [1]
