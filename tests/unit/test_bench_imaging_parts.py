"""What the benchmark of imaging stands on: known poses, distances, label maps, faults, goals."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import ndimage

from deepbrainprint.bench.imaging import displacement, heads, masks, rescans, starts
from deepbrainprint.bench.imaging.agreement import cut
from deepbrainprint.bench.imaging.collection import Collection
from deepbrainprint.bench.imaging.faults import broken
from deepbrainprint.bench.imaging.findings import at_least, at_most, spread
from deepbrainprint.bench.imaging.repeatability import blurred
from deepbrainprint.bench.imaging.rows import rows
from deepbrainprint.imaging import template, volume
from deepbrainprint.imaging.registration import exponential
from deepbrainprint.records import Volume

ORDERS = [(o, s) for o in permutations(range(3)) for s in product((1, -1), repeat=3)]


def blob():
    """An egg whose middle and axes are known, not in the middle of its field."""
    x, y, z = np.indices((40, 50, 36))
    inside = ((x - 18) / 14) ** 2 + ((y - 26) / 18) ** 2 + ((z - 17) / 10) ** 2 < 1
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-40, -50, -30)
    data = np.where(inside, 100 + x.astype(np.float32), 0)
    return Volume(data.astype(np.float32), affine), inside


def middle(scan):
    index = ndimage.center_of_mass(scan.data > 0)
    return scan.affine[:3, :3] @ index + scan.affine[:3, 3]


def turn(degrees, axis):
    x, y, z = np.deg2rad(degrees) * np.eye(3)[axis]
    transform = np.eye(4)
    transform[:3, :3] = exponential(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    return transform


def shifted(*mm):
    transform = np.eye(4)
    transform[:3, 3] = mm
    return transform


@pytest.mark.parametrize(("order", "signs"), ORDERS[::5])
def test_a_scan_stored_in_any_order_is_read_back_as_it_was(tmp_path, order, signs):
    scan, _ = blob()
    how = rescans.Positioning(np.eye(4), (2.0, 2.0, 2.0), order, signs)
    again = rescans.through_file(scan, how, tmp_path / "scan.nii")
    assert np.array_equal(again.data, scan.data)
    assert np.allclose(again.affine, scan.affine, atol=1e-4)


@pytest.mark.parametrize("voxel_mm", [(1.5, 1.5, 1.5), (2.0, 2.0, 6.0)])
def test_a_rescan_lies_where_its_pose_says(voxel_mm):
    scan, mask = blob()
    rng = default_rng(3)
    how = rescans.positioned(rng, rescans.turned(rng, 30), 50, voxel_mm)
    again = rescans.rescanned(scan, mask, how, rng)
    truth = rescans.about(how.pose, scan, mask) @ [*middle(scan), 1]
    assert np.allclose(middle(again), truth[:3], atol=0.5)
    assert (again.data > 0).sum() * np.prod(voxel_mm) == pytest.approx(mask.sum() * 8, rel=0.05)


def test_the_same_seed_draws_the_same_rescan():
    scan, mask = blob()
    drawn = []
    for _ in range(2):
        rng = default_rng(5)
        how = rescans.positioned(rng, rescans.turned(rng, 30), 50, (2.0, 2.0, 2.0))
        drawn.append(rescans.rescanned(scan, mask, how, rng).data)
    assert np.array_equal(*drawn)


def test_a_shift_is_measured_in_mm():
    rms, most = displacement.distances(shifted(3, 4, 0), np.eye(4))
    assert (rms, most) == (pytest.approx(5), pytest.approx(5))


def test_scale_and_place_are_told_apart():
    grown = np.diag([1.04, 1.04, 1.04, 1.0])
    centre = displacement.brain_points().mean(axis=0)
    about = shifted(*centre) @ grown @ shifted(*-centre)
    found = displacement.gap(np.eye(4), shifted(0, 2, 0) @ about)
    assert found.scale == pytest.approx(1.04)
    assert found.rigid_rms_mm == pytest.approx(2, abs=0.01)
    assert found.rms_mm > 2.5


def test_the_gap_does_not_depend_on_the_scanners_world():
    world = turn(70, 1) @ shifted(30, -80, 10)
    first, second = shifted(1, 0, 0), turn(3, 2)
    here, there = displacement.gap(first, second), displacement.gap(world @ first, world @ second)
    assert here.rms_mm == pytest.approx(there.rms_mm)


def test_a_cut_takes_a_fifth_of_what_shows_brain_and_moves_nothing():
    scan, mask = blob()
    shown = np.flatnonzero(mask.any(axis=(0, 1)))
    lost = round(0.2 * len(shown))
    for end, kept in (("no top", shown[:-lost]), ("no bottom", shown[lost:])):
        left = cut(scan, mask, end)
        heights = left.affine[2, 3] + 2 * np.flatnonzero((left.data > 0).any(axis=(0, 1)))
        assert np.allclose(heights, scan.affine[2, 3] + 2 * kept)


def test_there_are_24_ways_to_mistake_the_axes_of_a_head():
    turns = starts.quarter_turns()
    assert len({each.tobytes() for each in (t + 0.0 for t in turns)}) == 24
    assert all(np.linalg.det(each) == pytest.approx(1) for each in turns)
    assert np.array_equal(turns[0], np.eye(3))


def test_a_mask_is_turned_back_into_the_order_of_its_file(tmp_path):
    scan, mask = blob()
    stored = np.array([[0, 0, -2.0, 30], [2, 0, 0, -50], [0, 2, 0, -30], [0, 0, 0, 1]])
    volume.write(Volume(scan.data, stored), tmp_path / "scan.nii")
    read = volume.read(tmp_path / "scan.nii")
    assert read.data.shape != scan.data.shape
    assert np.array_equal(masks.as_read(read.data > 0, read.affine, stored), mask)


def test_fluid_in_narrow_folds_is_tissue_and_fluid_around_is_only_brain():
    labels = np.zeros((60, 60, 60), np.float32)
    labels[10:50, 10:50, 10:50] = 24
    labels[14:46, 14:46, 14:46] = 3
    labels[29:31, 14:46, 20:46] = 24  # a fold
    labels[20, 20, 20] = 507  # what is not brain, in a hole
    drawn = heads.LabelMap(labels, np.eye(4))
    assert drawn.brain().sum() == 40**3
    assert drawn.tissue()[30, 30, 30]
    assert not drawn.tissue()[12, 30, 30]


def test_the_template_is_upside_down_and_back_to_front_only_while_it_is_broken():
    right = template.reference().data
    with broken("flip"):
        assert np.array_equal(template.reference().data, right[:, ::-1, ::-1])
        assert not np.array_equal(template.mask(), template.mask()[:, ::-1, ::-1])
    assert template.reference().data is right


def test_reading_keeps_the_order_of_the_file_only_while_it_is_broken(tmp_path):
    scan, _ = blob()
    how = rescans.Positioning(np.eye(4), (2.0, 2.0, 2.0), (2, 0, 1), (1, -1, 1))
    with broken("orientation"):
        stored = rescans.through_file(scan, how, tmp_path / "scan.nii")
    assert stored.data.shape == (36, 40, 50)
    assert volume.read(tmp_path / "scan.nii").data.shape == (40, 50, 36)


def test_a_goal_that_was_not_measured_neither_holds_nor_fails():
    assert [at_least("", 1, found).holds for found in (None, 0.5, 1)] == [None, False, True]
    assert [at_most("", 1, found).holds for found in (None, 0.5, 1.5)] == [None, True, False]


def test_a_spread_names_the_worse_end():
    assert spread([1, 2, 9], worst="least")["worst"] == 1
    assert spread([1, 2, 9], worst="most")["worst"] == 9
    assert spread([], worst="most") == {"count": 0}


def test_a_blur_forgets_fine_detail_and_keeps_the_outline():
    brain = np.zeros((30, 30, 30), np.uint8)
    brain[5:25, 5:25, 5:25] = 100
    brain[5:25:2, 5:25, 5:25] = 120
    smooth = blurred(brain)
    assert np.array_equal(smooth > 0, brain > 0)
    assert np.ptp(smooth[10:20, 10:20, 10:20]) < 2


def test_what_a_folder_lacks_is_named(tmp_path):
    (tmp_path / "t1w").mkdir()
    (tmp_path / "t1w" / "sub-01_T1w.nii.gz").touch()
    assert Collection(tmp_path).lacking() == ["t1_t2", "repeat", "labels"]


def test_pairs_need_both_scans(tmp_path):
    for name in ("study1_T1W", "study1_FLAIR", "study2_T1W"):
        path = tmp_path / "repeat" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [pair.name for pair in Collection(tmp_path).pairs()] == ["repeat study1 T1W–FLAIR"]


def test_nested_figures_become_rows_with_the_same_columns():
    figures = {"a": {"count": 2, "median": 0.5, "worst": 1.0}, "b": {"c": {"value_s": 3.0}}}
    found = rows(figures)
    assert [row["figure"] for row in found] == ["a", "b, c, value s"]
    assert found[0].keys() == found[1].keys()
