"""Eleven measures of how alike two aligned brains are, on brains whose likeness is known."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deepbrainprint.linkage import histograms, moments, similarity
from deepbrainprint.linkage.density import threshold
from deepbrainprint.linkage.similarity import (
    MEASURES,
    Prepared,
    Stack,
    against,
    prepared,
    similarities,
)

SHAPE = (46, 54, 46)
GRID = (182, 218, 182)  # of an aligned brain
C1, C2 = 0.01**2, 0.03**2  # of SSIM
SEEDS = st.integers(0, 2**32 - 1)
CONTRAST_FREE = {"mutual_information", "normalised_mutual_information", "mask_overlap"}


def brain(seed, *, blur=2.0, shift=(0, 0, 0)):
    """A ball of random smooth detail, 1…255 inside."""
    rng = np.random.default_rng(seed)
    detail = ndimage.gaussian_filter(rng.normal(size=SHAPE), blur)
    centre = (np.array(SHAPE) - 1) / 2 + shift
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


def by_hand(values, inside=None, *, tissue=None, shares=None, slopes=None, step=7):
    """A brain of given lattices, of two voxels to the edge of a cube; values in 256ths."""
    values = np.array(values, dtype=np.uint8)
    inside = np.ones(values.shape, dtype=bool) if inside is None else np.array(inside, dtype=bool)
    tissue = np.where(inside, 1 + values // 86, 0) if tissue is None else np.array(tissue)
    return Prepared(
        step,
        inside,
        np.where(inside, values, 0).astype(np.uint8),
        np.array(values if slopes is None else slopes, dtype=np.uint8),
        tissue.astype(np.uint8),
        np.full(32, 1 / 32, np.float32) if shares is None else np.array(shares, np.float32),
    )


def drawn(seed, *, outline=None):
    """A brain of noise, with holes where `outline` draws them; None: without any."""
    rng = np.random.default_rng(seed)
    shape = (5, 4, 6)  # the last cubes jut out
    holes = np.zeros(shape) if outline is None else np.random.default_rng(outline).random(shape)
    return by_hand(
        rng.integers(256, size=shape),
        holes < 0.7,
        slopes=rng.integers(256, size=shape),
        shares=rng.dirichlet(np.ones(32)),
    )


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
    assert compared(one, other) == pytest.approx(compared(other, one), abs=1e-9)


@given(SEEDS, SEEDS, SEEDS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_order_does_not_matter_for_brains_of_any_outline(seed, outline, other, its_outline):
    one, another = drawn(seed, outline=outline), drawn(other, outline=its_outline)
    assert similarities(one, another) == pytest.approx(similarities(another, one), abs=1e-9)


@given(SEEDS, SEEDS, SEEDS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_no_brain_is_more_like_a_brain_than_itself(seed, outline, other, its_outline):
    one = drawn(seed, outline=outline)
    found = against(one, Stack.of([one, drawn(other, outline=its_outline)]))
    for name in MEASURES:
        if name != "mutual_information":  # which a smaller part in common can raise
            assert found[name][0] >= found[name][1] - 1e-9, name


@given(SEEDS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_no_brain_of_one_outline_tells_more_of_a_brain_than_itself(seed, other):
    one = drawn(seed)
    itself, another = against(one, Stack.of([one, drawn(other)]))["mutual_information"]
    assert itself >= another - 1e-9


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
    assert found.values[found.inside].mean() / 256 == pytest.approx(0.5, abs=0.02)
    assert found.values[found.inside].std() / 256 == pytest.approx(0.2, abs=0.02)
    assert (found.tissue[found.inside] > 0).all()
    assert not found.values[~found.inside].any()


def test_the_rim_of_a_brain_is_not_darkened_by_what_is_around_it():
    halved = np.where(np.arange(SHAPE[0])[:, None, None] < 22, 80, 160)
    found = prepared(np.where(brain(1) > 0, halved, 0).astype(np.uint8), step=2)
    assert len(np.unique(found.values[found.inside])) == 2


def test_two_lattices_cannot_be_compared():
    with pytest.raises(ValueError, match="1 and 2 mm"):
        similarities(prepared(brain(1), 1), prepared(brain(1), 2))
    with pytest.raises(ValueError, match="align both alike"):
        similarities(prepared(brain(1)), prepared(brain(1)[:-2]))
    with pytest.raises(ValueError, match="1 and 2 mm"):
        Stack.of([prepared(brain(1), 1), prepared(brain(1), 2)])
    with pytest.raises(ValueError, match="at least one"):
        Stack.of([])


def test_nothing_is_like_nothing():
    nothing = np.zeros(SHAPE, dtype=np.uint8)
    for found in (compared(nothing, brain(1)), compared(brain(1), nothing)):
        assert found["correlation"] == found["mask_overlap"] == found["mutual_information"] == 0
        assert found["squared_difference"] == -1
        assert all(np.isfinite(list(found.values())))


def plainly(a, b):
    """All measures of two brains, each written out for itself on the voxels of both."""
    both = a.inside & b.inside
    one, other = a.values[both] / 256, b.values[both] / 256
    square = np.mean((one - other) ** 2)
    joint = np.histogram2d(one, other, 32, ((0, 1), (0, 1)))[0] / both.sum()
    joined, first, second = (
        -np.sum(p[p > 0] * np.log(p[p > 0])) for p in (joint, joint.sum(1), joint.sum(0))
    )
    local, structural = plainly_by_cube(a, b, both)
    kinds = [plain_dice(a.tissue == kind, b.tissue == kind) for kind in (1, 2, 3)]
    return {
        "correlation": np.corrcoef(one, other)[0, 1],
        "local_correlation": local,
        "gradient_correlation": np.corrcoef(a.slopes[both], b.slopes[both])[0, 1],
        "structural_similarity": structural,
        "mutual_information": first + second - joined,
        "normalised_mutual_information": (first + second) / joined,
        "squared_difference": -square,
        "peak_signal_to_noise": -10 * np.log10(max(square, 1e-9)),
        "tissue_overlap": np.mean(kinds),
        "mask_overlap": plain_dice(a.inside, b.inside),
        "histogram_distance": -np.mean(np.abs(np.cumsum(a.shares) - np.cumsum(b.shares))),
    }


def plain_dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 0


def plainly_by_cube(a, b, both):
    edge, total = 14 // a.step, np.zeros(2)
    for corner in product(*(range(0, n, edge) for n in both.shape)):
        cube = tuple(slice(c, c + edge) for c in corner)
        one, other = (brain.values[cube][both[cube]] / 256 for brain in (a, b))
        if one.size:
            total += one.size * np.array(plain_cube(one, other))
    return total / both.sum()


def plain_cube(x, y):
    (var_x, cov), (_, var_y) = np.cov(x, y, bias=True) if x.size > 1 else np.zeros((2, 2))
    structure = (cov + C2 / 2) / (np.sqrt(var_x * var_y) + C2 / 2)
    light = (2 * x.mean() * y.mean() + C1) / (x.mean() ** 2 + y.mean() ** 2 + C1)
    return structure * abs(structure), light * (2 * cov + C2) / (var_x + var_y + C2)


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("shift", [(0, 0, 0), (5, -3, 2)])
def test_every_measure_is_what_it_is_when_written_out(step, shift):
    a, b = prepared(noisy(brain(1), 40), step), prepared(brain(1, shift=shift), step)
    assert similarities(a, b) == pytest.approx(plainly(a, b), abs=1e-6)


@given(SEEDS, SEEDS, SEEDS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_every_measure_is_what_it_is_when_written_out_for_any_outline(seed, outline, other, its):
    a, b = drawn(seed, outline=outline), drawn(other, outline=its)
    assert similarities(a, b) == pytest.approx(plainly(a, b), abs=1e-6)


def test_a_stack_gives_each_brain_what_it_gets_alone():
    brains = [prepared(brain(seed, shift=(seed, 0, -seed)), 2) for seed in range(4)]
    probe = prepared(brain(9, shift=(-9, 0, 6)), 2)  # partly where none of the others is
    found = against(probe, Stack.of(brains))
    for place, one in enumerate(brains):
        alone = similarities(probe, one)
        assert {name: found[name][place] for name in MEASURES} == pytest.approx(alone, abs=1e-9)


def test_it_does_not_show_in_what_portions_a_stack_is_worked_on(monkeypatch):
    stack = Stack.of([drawn(seed, outline=seed + 50) for seed in range(11)])
    whole = against(drawn(3), stack)
    monkeypatch.setattr(similarity, "TOGETHER", 4)
    monkeypatch.setattr(histograms, "COUNTED", 3)
    monkeypatch.setattr(moments, "IN_CACHE", 64)
    for name, found in against(drawn(3), stack).items():
        np.testing.assert_allclose(found, whole[name], atol=1e-9, err_msg=name)


def test_a_part_of_a_stack_is_a_stack():
    stack = Stack.of([drawn(seed) for seed in range(6)])
    probe = drawn(2)
    whole, part, none = (against(probe, some) for some in (stack, stack[2:5], stack[6:]))
    for name in MEASURES:
        np.testing.assert_allclose(part[name], whole[name][2:5], atol=1e-9, err_msg=name)
        assert whole[name].shape == (6,)
        assert none[name].shape == (0,)
        assert whole[name].dtype == none[name].dtype == np.float64


def test_1500_brains_and_their_stack_fit_into_2_gb():
    rng = np.random.default_rng(0)
    away = [((np.arange(n) - n / 2) / (0.4 * n)) ** 2 for n in GRID]
    ball = away[0][:, None, None] + away[1][:, None] + away[2] < 1  # 1.9 l, more than most brains
    brains = [prepared(np.where(ball, rng.integers(1, 256, GRID, np.uint8), 0), 4)] * 3
    stack = Stack.of(brains)
    arrays = [getattr(held, field.name) for held in (*brains, stack) for field in fields(held)]
    total = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    assert 1500 * total / len(brains) < 2e9


def halves(low, high):
    """A cube of eight voxels: one half of one value, one of another."""
    return np.array([low] * 4 + [high] * 4).reshape(2, 2, 2)


def test_correlation_by_hand():
    one = by_hand([[[1, 2, 3]]], slopes=[[[1, 3, 2]]])
    other = by_hand([[[1, 3, 2]]], slopes=[[[3, 1, 2]]])
    found = similarities(one, other)
    assert found["correlation"] == pytest.approx(0.5)
    assert found["gradient_correlation"] == pytest.approx(-1)
    flat = by_hand([[[7, 7, 7]]])
    assert similarities(one, flat)["correlation"] == similarities(flat, flat)["correlation"] == 0


def test_information_by_hand():
    one = by_hand(halves(10, 200))
    other = by_hand(np.array([10, 10, 10, 200, 200, 200, 200, 10]).reshape(2, 2, 2))
    found = similarities(one, other)  # shares of ⅜, ⅛, ⅛, ⅜
    joint = -(0.75 * np.log(3 / 8) + 0.25 * np.log(1 / 8))
    assert found["mutual_information"] == pytest.approx(2 * np.log(2) - joint)
    assert found["normalised_mutual_information"] == pytest.approx(2 * np.log(2) / joint)
    itself = similarities(one, one)
    assert itself["mutual_information"] == pytest.approx(np.log(2))
    assert itself["normalised_mutual_information"] == pytest.approx(2)


def test_the_figures_of_one_cube_by_hand():
    one, other = by_hand(halves(64, 192)), by_hand(halves(96, 160))
    found = similarities(one, other)  # means ½; variances ¹⁄₁₆ and ¹⁄₆₄, covariance ¹⁄₃₂
    assert found["structural_similarity"] == pytest.approx((1 / 16 + C2) / (5 / 64 + C2), abs=1e-6)
    assert found["local_correlation"] == pytest.approx(1, abs=1e-6)
    assert found["squared_difference"] == pytest.approx(-1 / 64)
    assert found["peak_signal_to_noise"] == pytest.approx(10 * np.log10(64))
    opposed = similarities(one, by_hand(halves(160, 96)))
    ratio = (-1 / 32 + C2 / 2) / (1 / 32 + C2 / 2)
    assert opposed["local_correlation"] == pytest.approx(-(ratio**2), abs=1e-6)


def test_a_cube_counts_by_the_voxels_that_both_brains_have():
    inside = np.ones((4, 2, 2), dtype=bool)
    inside[2:] = False
    inside[2, 0, :] = True  # 8 voxels in the one cube, 2 in the other
    one = by_hand(np.concatenate([halves(64, 192), halves(64, 192)]), inside)
    other = by_hand(np.concatenate([halves(64, 192), halves(128, 255)]))
    dark = (2 / 8 + C1) / (1 / 16 + 1 / 4 + C1)  # ¼ against ½, both without contrast
    found = similarities(one, other)["structural_similarity"]
    assert found == pytest.approx((8 + 2 * dark) / 10, abs=1e-6)


def test_overlap_by_hand():
    one = by_hand([[[9] * 6]], [[[1, 1, 1, 0, 0, 0]]], tissue=[[[1, 2, 2, 0, 0, 0]]])
    other = by_hand([[[9] * 6]], [[[0, 0, 1, 1, 0, 0]]], tissue=[[[0, 0, 2, 3, 0, 0]]])
    found = similarities(one, other)
    assert found["mask_overlap"] == pytest.approx(2 / 5)
    assert found["tissue_overlap"] == pytest.approx((0 + 2 / 3 + 0) / 3)


def test_histogram_distance_by_hand():
    def peaked(level):
        return by_hand([[[9, 9]]], shares=np.eye(32)[level])

    found = against(peaked(0), Stack.of([peaked(level) for level in (0, 1, 31)]))
    assert found["histogram_distance"] == pytest.approx([0, -1 / 32, -31 / 32])


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
