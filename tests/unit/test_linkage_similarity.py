"""Eleven measures of how alike two aligned brains are, on brains whose likeness is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deepbrainprint.linkage.density import threshold
from deepbrainprint.linkage.similarity import MEASURES, correlation, prepared, similarities

SHAPE = (46, 54, 46)
CONTRAST_FREE = {"mutual_information", "normalised_mutual_information", "mask_overlap"}


def brain(seed, *, blur=2.0):
    """A ball of random smooth detail, 1…255 inside."""
    rng = np.random.default_rng(seed)
    detail = ndimage.gaussian_filter(rng.normal(size=SHAPE), blur)
    centre = (np.array(SHAPE) - 1) / 2
    away = [((np.arange(n) - c) / (0.45 * n)) ** 2 for n, c in zip(SHAPE, centre, strict=True)]
    inside = away[0][:, None, None] + away[1][:, None] + away[2] < 1
    low, high = np.percentile(detail[inside], (1, 99))
    scaled = np.clip(1 + 254 * (detail - low) / (high - low), 1, 255)
    return np.where(inside, scaled, 0).astype(np.uint8)


def noisy(data, sigma, seed=9):
    changed = data + np.random.default_rng(seed).normal(0, sigma, SHAPE)
    return np.where(data > 0, np.clip(changed, 1, 255), 0).astype(np.uint8)


def compared(a, b, step=1):
    return similarities(prepared(a, step), prepared(b, step))


def test_every_measure_puts_a_repeat_before_somebody_else():
    one, repeat, other = brain(1), noisy(brain(1), 20), brain(2)
    same, different = compared(one, repeat), compared(one, other)
    assert tuple(same) == MEASURES
    for name in MEASURES:
        if name not in {"mask_overlap", "histogram_distance"}:  # both are the same ball
            assert same[name] > different[name], name


def test_a_brain_is_as_like_itself_as_can_be():
    one = brain(3)
    found = compared(one, one)
    for name in ("correlation", "local_correlation", "gradient_correlation", "mask_overlap"):
        assert found[name] == pytest.approx(1, abs=1e-4), name
    for name in ("structural_similarity", "tissue_overlap"):
        assert found[name] == pytest.approx(1, abs=1e-4), name
    assert found["squared_difference"] == found["histogram_distance"] == 0
    assert found["normalised_mutual_information"] == pytest.approx(2, abs=1e-6)


def test_the_order_of_two_brains_does_not_matter():
    one, other = brain(1), noisy(brain(2), 30)
    assert compared(one, other) == pytest.approx(compared(other, one), abs=1e-5)


def test_brightness_and_contrast_of_the_scanner_do_not_matter_after_harmonising():
    one = brain(4)
    dull = np.where(one > 0, 60 + one // 3, 0).astype(np.uint8)
    found = compared(one, dull)
    assert found["correlation"] > 0.99
    assert found["squared_difference"] > -1e-3
    assert found["tissue_overlap"] > 0.97
    assert found["histogram_distance"] < -0.05  # which looks at what harmonising takes away


def test_an_inverted_contrast_is_only_recognised_by_information_and_outline():
    one = brain(5)
    inverted = np.where(one > 0, 256 - one.astype(int), 0).astype(np.uint8)
    found, other = compared(one, inverted), compared(brain(6), inverted)
    assert found["correlation"] < -0.95
    for name in CONTRAST_FREE - {"mask_overlap"}:
        assert found[name] > other[name] + 0.1, name


def test_a_coarser_lattice_averages_the_brain_only():
    found = prepared(brain(7), step=2)
    assert found.values.shape == (23, 27, 23)
    assert found.values[found.inside].mean() == pytest.approx(0.5, abs=0.02)
    assert found.values[found.inside].std() == pytest.approx(0.2, abs=0.02)
    assert (found.tissue[found.inside] > 0).all()
    assert not found.values[~found.inside].any()


def test_two_lattices_cannot_be_compared():
    with pytest.raises(ValueError, match="1 and 2 mm"):
        similarities(prepared(brain(1), 1), prepared(brain(1), 2))


def test_nothing_is_like_nothing():
    nothing = np.zeros(SHAPE, dtype=np.uint8)
    found = compared(nothing, brain(1))
    assert found["correlation"] == found["mask_overlap"] == 0
    assert all(np.isfinite(list(found.values())))


def test_correlation_by_hand():
    one, other = np.array([1.0, 2, 3]), np.array([1.0, 3, 2])
    assert correlation(one, other) == pytest.approx(0.5)


def test_the_threshold_parts_two_crowds_where_their_densities_cross():
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.9, 0.02, 200), rng.normal(0.5, 0.06, 2000)
    found = threshold(genuine, impostor)
    assert 0.72 < found < 0.84
    assert (genuine > found).mean() > 0.99
    assert (impostor < found).mean() > 0.99


@pytest.mark.parametrize(
    ("genuine", "impostor", "words"),
    [([0.9] * 4, [0.1] * 50, "4 genuine"), ([0.1] * 9, [0.9] * 9, "no threshold")],
)
def test_no_threshold_is_made_up(genuine, impostor, words):
    with pytest.raises(ValueError, match=words):
        threshold(np.array(genuine), np.array(impostor))
