"""Outlines that scans come with, and those that are carried from scan to scan."""

from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.imaging import outline, strip
from deepbrainprint.imaging.strip import Source, better_of, brain_mask, foreground
from deepbrainprint.records import Volume

THREE_MM = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE = (60, 70, 60)


def ellipsoid(radii, middle=(30, 35, 30)):
    index = np.indices(SHAPE) - np.array(middle)[:, None, None, None]
    return ((index / np.array(radii)[:, None, None, None]) ** 2).sum(axis=0) < 1


BRAIN = ellipsoid((22, 27, 21))  # 1.4 litres
RNG = np.random.default_rng(0)
VALUES = np.where(BRAIN, RNG.integers(1, 200, SHAPE), 0).astype(np.float32)
VALUES[30, 35, 30] = 0  # a hole


@pytest.mark.parametrize(
    "data",
    [VALUES, VALUES + 3, VALUES - 1024, VALUES * 100 + 32768],
    ids=["zero", "small constant", "negative", "offset"],
)
def test_a_stripped_scan_keeps_its_outline_whatever_its_background(data):
    scan = Volume(data, THREE_MM)
    assert np.array_equal(foreground(scan), BRAIN)
    assert np.array_equal(brain_mask(scan, lambda _: BRAIN), BRAIN)


def test_crumbs_beside_a_stripped_brain_are_no_brain():
    data = VALUES.copy()
    data[2:4, 2:4, 2:4] = 50
    assert np.array_equal(foreground(Volume(data, THREE_MM)), BRAIN)


def test_a_noisy_background_is_no_outline():
    noisy = np.hypot(VALUES + RNG.normal(0, 4, SHAPE), RNG.normal(0, 4, SHAPE))
    assert foreground(Volume(noisy.astype(np.float32), THREE_MM)) is None


def test_the_supplied_outline_counts_where_no_brain_was_found():
    nothing = np.zeros(SHAPE, bool)
    assert np.array_equal(brain_mask(Volume(VALUES, THREE_MM), lambda _: nothing), BRAIN)


def test_dura_that_was_left_on_is_taken_off():
    """Found: the brain. Supplied: that and a rim, 14 % more."""
    rim = ellipsoid((23, 28.2, 22))
    data = np.where(rim, 100 + VALUES, 0).astype(np.float32)
    assert 0.9 < outline.dice(BRAIN, rim) < strip.TIGHT
    assert np.array_equal(brain_mask(Volume(data, THREE_MM), lambda _: BRAIN), BRAIN)


def test_a_head_on_a_clean_background_is_not_taken_for_a_brain():
    head = ellipsoid((27, 32, 28))
    data = np.where(head, 100, 0).astype(np.float32)
    assert np.array_equal(brain_mask(Volume(data, THREE_MM), lambda _: BRAIN), BRAIN)


def test_of_two_masks_of_one_visit_the_better_is_taken():
    scan = Volume(VALUES, THREE_MM)
    less, nothing = ellipsoid((22, 20, 21)), np.zeros(SHAPE, bool)
    assert better_of(BRAIN, BRAIN, scan).source is Source.OWN
    assert better_of(nothing, BRAIN, scan).source is Source.CARRIED
    assert better_of(BRAIN, nothing, scan).source is Source.OWN
    chosen = better_of(less, BRAIN, scan)
    assert chosen.source is Source.CARRIED
    assert chosen.mask is BRAIN
    assert "Dice of 0.8" in chosen.reason


def test_a_cut_is_where_the_brain_meets_the_edge():
    mask = np.zeros((40, 40, 20), dtype=bool)
    mask[10:30, 10:30, 5:] = True
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    assert outline.planes_at_cuts(mask, affine, 6.0) == [(0, 0), (0, 0), (0, 2)]


def test_a_tip_of_the_brain_on_the_outermost_plane_is_no_cut():
    mask = np.zeros((40, 40, 20), dtype=bool)
    mask[18:22, 18:22, :] = True  # 16 mm²
    assert outline.planes_at_cuts(mask, np.eye(4), 6.0) == [(0, 0), (0, 0), (0, 0)]
