"""Heads that are ill, operated on or cut off, and things that are no heads."""

from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.imaging.volume import voxel_ml
from deepbrainprint.records import Volume
from deepbrainprint.simulation import lesions
from deepbrainprint.simulation.impostors import IMPOSTORS

TWO_MM = np.diag([2.0, 2.0, 2.0, 1.0])
INDEX = np.indices((70, 84, 70))
MASK = (((INDEX - 35) / np.array([30, 34, 28])[:, None, None, None]) ** 2).sum(axis=0) < 1
SCAN = Volume(np.where(MASK, 50 + INDEX[0] + INDEX[1], 20).astype(np.float32), TWO_MM)


def changed(scan):
    return np.abs(scan.data - SCAN.data) > 1


def test_a_mass_is_bright_and_pushes_what_is_beside_it():
    made = lesions.mass(SCAN, MASK, place=(0.5, 0.5, 0.5), radius_mm=20, brightness=1.2)
    assert made.data[35, 35, 35] > SCAN.data[MASK].max()
    assert made.data[49, 35, 35] == pytest.approx(SCAN.data[46, 35, 35], abs=1.5)  # from further in
    assert not changed(made)[~MASK].any()


def test_a_resection_leaves_the_rest_as_it_was():
    made = lesions.resection(SCAN, MASK, place=(0.8, 0.5, 0.5), radius_mm=20, fluid=0)
    assert changed(made).sum() * voxel_ml(TWO_MM) < 50  # a ball of 20 mm has 34 ml
    assert not changed(made)[:35].any()


def test_wide_ventricles_are_dark_on_both_sides():
    made = lesions.wide_ventricles(SCAN, MASK, width_mm=24, fluid=0)
    middle = made.data[:, 35, 40]
    assert middle[26] < SCAN.data[MASK].min() + 15 > middle[44]


def test_metal_leaves_nothing():
    made = lesions.void(SCAN, MASK, place=(0.5, 1, 0.2), radius_mm=20)
    assert (made.data[MASK] == 0).sum() * voxel_ml(TWO_MM) > 5


def test_missing_slices_move_no_brain():
    made = lesions.cut(SCAN, MASK, top=0.3, bottom=0.2)
    height = MASK.any(axis=(0, 1)).sum()
    assert made.data.shape[2] == pytest.approx(height * 0.5, abs=1.5)
    first = round((made.affine[2, 3] - SCAN.affine[2, 3]) / 2)
    assert np.array_equal(made.data[:, :, 0], SCAN.data[:, :, first])


def test_a_child_is_smaller():
    assert voxel_ml(lesions.smaller(SCAN, 0.5).affine) == pytest.approx(voxel_ml(TWO_MM) / 8)


def test_a_bad_day_changes_everything_but_not_by_chance():
    bad = lesions.degraded(SCAN, seed=1, bias=0.4, motion=1, noise=0.1)
    assert changed(bad).mean() > 0.8
    again = lesions.degraded(SCAN, seed=1, bias=0.4, motion=1, noise=0.1)
    assert np.array_equal(again.data, bad.data)


@pytest.mark.parametrize("name", ["orange", "knee", "walnut"])
def test_an_impostor_is_the_same_for_the_same_seed_only(name):
    first, again, other = (IMPOSTORS[name](seed) for seed in (1, 1, 2))
    assert np.array_equal(first.data, again.data)
    assert not np.array_equal(first.data, other.data)
    assert 0.3 < np.percentile(first.data, 99) < 2
