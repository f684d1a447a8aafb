"""Around training: what is learned from, what is held out, and which pairs are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from deepbrainprint.encoder.model_card import write_model_card
from deepbrainprint.encoder.recipe import named_recipe
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.records import Contrast
from deepbrainprint.workflow.anatomies import Source, brain_of, painted, sources
from deepbrainprint.workflow.evidence import joined, pair_scores
from deepbrainprint.workflow.known.manifest import ListedScan
from deepbrainprint.workflow.known.people import KnownPeople, genuine_pairs
from deepbrainprint.workflow.training import _claim, parted


def _source(kind, number):
    path = Path(kind) / f"{number}.nii.gz"
    return Source(f"{kind}/{number}", "0", path, path)


def test_the_last_sixth_of_each_kind_is_held_out():
    found = [_source("t1w", i) for i in range(12)] + [_source("labels", i) for i in range(3)]
    learned, held = parted(found)
    assert [s.name for s in held] == ["labels/2", "t1w/10", "t1w/11"]
    assert not set(learned) & set(held)
    assert len(learned) == 12


def test_a_folder_without_brains_is_refused(tmp_path):
    with pytest.raises(BadStudy, match="name the folder above them"):
        sources(tmp_path, tmp_path)


def test_the_brain_of_a_label_map_fills_its_sulci_and_leaves_the_skull():
    labels = np.full((40, 40, 40), 516, dtype=np.int16)  # skull
    labels[8:32, 8:32, 8:32] = 24  # fluid
    labels[10:30, 10:30, 10:30] = 3  # cortex
    labels[18:20, 18:20, 10:30] = 24  # a sulcus
    mask = brain_of(labels)
    assert mask[19, 19, 20]
    assert not mask[4, 4, 4]
    assert not mask[8, 8, 8]


def test_a_painted_label_map_has_dark_fluid_and_bright_white_matter():
    levels = painted(np.array([0, 4, 3, 2], dtype=np.int16))
    assert levels[0] == 0 < levels[1] < levels[2] < levels[3]


def test_pairs_are_told_apart_by_person_and_by_contrast():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    same, cross = pair_scores(
        vectors, np.array([7, 7, 7, 8]), np.array([0, 0, 1, 1]), source="real"
    )
    assert same.genuine.tolist() == [1.0]
    assert same.impostor == pytest.approx([0.8])
    assert cross.genuine.tolist() == [0.0, 0.0]
    assert cross.impostor_people.tolist() == [[7, 8], [7, 8]]


def test_groups_are_joined_without_pairs_between_them():
    vectors = np.eye(2, dtype=np.float32)
    group = pair_scores(vectors, np.array([0, 1]), np.array([0, 0]), source="generated")
    same, cross = joined([group, group])
    assert (len(same.impostor), len(cross.impostor)) == (2, 0)


def test_a_genuine_pair_is_ranked_among_scans_of_others_both_ways():
    scans = tuple(
        ListedScan(Path(name), name, subject, "1", Contrast.T1W)
        for name, subject in (("a", "p"), ("b", "p"), ("c", "q"))
    )
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    known = KnownPeople(scans, (), np.array([0, 0, 1]), Path())
    (pair,) = genuine_pairs(known, vectors)
    assert (pair["similarity"], pair["rank"], pair["rank_back"]) == (0.6, 1, 2)


def test_a_folder_without_a_manifest_has_no_known_people(tmp_path):
    assert KnownPeople.of(tmp_path, tmp_path).scans == ()


def test_a_run_goes_on_only_with_the_recipe_that_it_was_begun_with(tmp_path):
    _claim(tmp_path, named_recipe("deepbrainprint"))
    _claim(tmp_path, named_recipe("deepbrainprint"))
    with pytest.raises(Misconfigured, match="holds a run of another recipe"):
        _claim(tmp_path, named_recipe("deepbrainprint", seed=2))


CARD = {
    "version": "brain-id-12345678",
    "method": "brain-id",
    "recipe": {"name": "brain-id", "steps": 3},
    "graph": {"precision": "fp16", "size_bytes": 2_600_000, "parity": 0.99999},
    "data": [{"name": "t1w/a", "sha256": "ab" * 32, "role": "held out"}],
    "training": {"steps": 3, "hours": 0.5, "cpu_cores": 2, "machine": "x86_64",
                 "framework": "torch"},
    "results": {
        "generated": {"people": 360, "gallery_people": 60, "same_contrast_rank1": 0.5,
                      "cross_contrast_rank1": 0.25},
        "real_pairs": [{"first": "a", "second": "b", "similarity": 0.5, "rank": 1,
                        "rank_back": 3}],
        "of_the_method": {"intra_subject_ssim": 0.9},
    },
}  # fmt: skip


def test_a_model_card_says_what_was_learned_from_how_long_and_what_came_of_it(tmp_path):
    text = write_model_card(tmp_path, CARD).read_text()
    for words in (
        "# brain-id-12345678", "Not a medical device", "arXiv 2311.16914", "| t1w/a | held out |",
        "3 steps in 30 minutes", "50.0 % of searches in one contrast and 25.0 % across",
        "| a | b | 0.500 | 1 / 3 |", "intra subject ssim 0.900",
    ):  # fmt: skip
        assert words in text


def test_a_card_of_adopted_weights_says_that_nothing_was_trained(tmp_path):
    card = CARD | {"training": {"framework": "torch", "weights": "of the paper's authors"}}
    assert "Nothing was trained" in write_model_card(tmp_path, card).read_text()
