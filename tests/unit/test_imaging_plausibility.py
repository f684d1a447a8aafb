"""What tells an aligned brain from other things."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deepbrainprint.imaging import template
from deepbrainprint.imaging.plausibility import (
    MOST_UNLIKE,
    Level,
    judge,
    structure,
)

BRAIN = {"structure": 0.7, "overlap": 0.9, "scale": 0.7, "stretch": 1.1}


@pytest.fixture(scope="module")
def brain():
    """The template, 0 outside."""
    return np.where(template.mask(), template.reference().data, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def place():
    """Millimetres from the middle of the template's brain."""
    middle = ndimage.center_of_mass(template.mask())
    return np.indices(template.SHAPE) - np.array(middle)[:, None, None, None]


def test_the_template_explains_itself_in_any_contrast(brain):
    inverted = np.where(brain > 0, 256 - brain.astype(int), 0).astype(np.uint8)
    assert structure(brain) < 0.05
    assert structure(inverted) < 0.1


def test_shading_takes_no_structure_away(brain, place):
    shading = 1.2 + 0.8 * np.sin(place[1] / 60)
    assert structure((brain / 2 * shading).astype(np.uint8)) < 0.1


def test_things_as_large_and_round_as_a_brain_have_none_of_its_structure(brain, place):
    inside = ((place / np.array([66, 83, 62])[:, None, None, None]) ** 2).sum(axis=0) < 1
    radius = np.sqrt((place**2).sum(axis=0))
    noise = np.random.default_rng(0).normal(size=brain.shape)
    for image in (
        200 - radius,
        np.where(radius < 50, 80, 200),
        100 + 60 * np.cos(10 * np.arctan2(place[0], place[2])),
        120 + 30 * ndimage.gaussian_filter(noise, 4) / 0.02,
    ):
        pixels = np.where(inside, np.clip(image, 1, 255), 0).astype(np.uint8)
        assert structure(pixels) > MOST_UNLIKE


@pytest.mark.parametrize("axis", [1, 2], ids=["back to front", "upside down"])
def test_a_brain_that_lies_the_wrong_way_has_none_of_its_structure(brain, axis):
    assert structure(np.flip(brain, axis).copy()) > MOST_UNLIKE


def test_one_whole_part_of_a_brain_is_enough(brain, place):
    """All but what lies left, behind and below is gone: noise has come in its place."""
    noise = np.random.default_rng(0).integers(1, 255, brain.shape)
    spoilt = np.where((place > 0).any(axis=0) & (brain > 0), noise, brain).astype(np.uint8)
    assert structure(spoilt) < 0.86  # well below MOST_UNLIKE


def test_half_a_brain_has_the_structure_of_half(brain):
    half = brain.copy()
    half[:, :, 80:] = 0
    assert structure(half) < 0.1


def test_next_to_nothing_explains_nothing(brain):
    assert structure(np.where(np.arange(182) == 80, brain, 0).astype(np.uint8)) == 1
    assert structure(np.zeros_like(brain)) == 1


def test_a_brain_is_not_doubted():
    assert judge(BRAIN) == []


@pytest.mark.parametrize(
    ("figure", "value", "words"),
    [
        ("structure", 0.97, "0.97 of a brain's fine structure"),
        ("overlap", 0.6, "by a Dice of 0.60"),
        ("scale", 0.1, "0.10 times as large"),
        ("scale", 1.9, "1.90 times as large"),
        ("stretch", 1.8, "stretched 1.80 times"),
    ],
)
def test_what_is_no_brain_fails_with_the_figure_that_says_so(figure, value, words):
    (doubt,) = judge({**BRAIN, figure: value})
    assert (doubt.level, doubt.name, doubt.figure) == (Level.FAIL, "not_a_brain", figure)
    assert words in doubt.sentence


def test_what_is_unusual_is_flagged_and_what_fails_comes_first():
    odd = {**BRAIN, "structure": 0.93, "overlap": 0.96}
    (doubt,) = judge(odd)
    assert (doubt.level, doubt.name) == (Level.FLAG, "unusual_structure")
    both = judge({**odd, "scale": 3})
    assert [one.level for one in both] == [Level.FAIL, Level.FLAG]


def test_a_healthy_scan_of_thick_slices_is_not_unusual():
    assert judge({**BRAIN, "structure": 0.88, "overlap": 0.96}) == []


def test_an_odd_inside_in_the_outline_of_a_brain_is_flagged():
    """Ventricles so wide that nothing lies where it does in others."""
    inside = {**BRAIN, "structure": 0.95}
    assert judge(inside)[0].level is Level.FAIL
    assert [one.name for one in judge({**inside, "overlap": 0.96})] == ["unusual_structure"]
    assert judge({**inside, "overlap": 0.96, "structure": 0.98})[0].level is Level.FAIL


def test_a_borrowed_mask_does_not_vouch_for_a_brain():
    unlike = {"structure": 0.93, "overlap": 0.96}
    assert not any(doubt.level is Level.FAIL for doubt in judge(unlike))
    assert judge(unlike | {"mask_borrowed": 1.0})[0].level is Level.FAIL
