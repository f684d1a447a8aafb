from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.linkage.gallery import Gallery, open_gallery


@pytest.fixture
def vectors():
    drawn = np.random.default_rng(0).normal(size=(50, 512)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def gallery(vectors):
    filled = Gallery()
    filled.add(list(range(100, 150)), vectors)
    return filled


def test_search_is_exact_and_best_first(gallery, vectors):
    probe = vectors[7] + 0.3 * vectors[8]
    found = gallery.search(probe, 5, among=gallery.fingerprint_ids)
    similarity = vectors @ probe
    assert [i - 100 for i, _ in found] == np.argsort(-similarity)[:5].tolist()
    assert found[0][1] == pytest.approx(float(similarity.max()), abs=1e-5)


def test_only_the_fingerprints_that_are_asked_for_are_found(gallery, vectors):
    found = gallery.search(vectors[7], 5, among=[101, 102])
    assert {i for i, _ in found} == {101, 102}


def test_an_empty_gallery_finds_nothing(vectors):
    assert Gallery().search(vectors[0], 5, among=[]) == []


def test_a_snapshot_gives_the_same_answers(gallery, vectors, tmp_path):
    gallery.save(tmp_path, "dbp 1/x")
    reopened = open_gallery(tmp_path, "dbp 1/x")
    assert reopened.fingerprint_ids == gallery.fingerprint_ids
    everyone = gallery.fingerprint_ids
    assert reopened.search(vectors[3], 9, among=everyone) == gallery.search(
        vectors[3], 9, among=everyone
    )


def test_a_damaged_snapshot_is_not_searched(gallery, tmp_path):
    path = gallery.save(tmp_path, "e1")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert len(open_gallery(tmp_path, "e1")) == 0


def test_a_snapshot_of_another_encoder_is_not_searched(gallery, tmp_path):
    gallery.save(tmp_path, "e1")
    assert len(open_gallery(tmp_path, "e2")) == 0


def test_an_older_snapshot_is_dropped_and_no_part_is_left_behind(gallery, vectors, tmp_path):
    gallery.save(tmp_path, "e1")
    gallery.add([500], vectors[:1])
    newest = gallery.save(tmp_path, "e1")
    assert list(tmp_path.iterdir()) == [newest]


def test_the_gallery_says_what_it_misses(gallery):
    assert gallery.missing([100, 7, 149, 3]) == [3, 7]
