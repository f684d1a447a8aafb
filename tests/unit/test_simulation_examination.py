"""What scans of one generated person show: the same brain, older, through other scanners."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from deepbrainprint.imaging.volume import voxel_ml
from deepbrainprint.records import Contrast
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.anatomy import COARSE_MM, anatomy
from deepbrainprint.simulation.contrasts import brightness
from deepbrainprint.simulation.examination import examined
from deepbrainprint.simulation.heads import USUAL_SIZE, Pose
from deepbrainprint.simulation.individual import brain_box, individual, lesion_sites
from deepbrainprint.simulation.life import Course, Lesion, State
from deepbrainprint.simulation.sites import SITES, Defacing
from deepbrainprint.simulation.spots import spotted
from deepbrainprint.simulation.stripping import found_mask
from deepbrainprint.simulation.ventricles import _ventricles, pulled, width_for
from deepbrainprint.simulation.visits import visits

pytestmark = pytest.mark.slow  # the template takes seconds to load

IDEAL = replace(
    SITES[0], noise=0.0, bias=0.0, spread=0.0, stretch=(0.0, 0.0, 0.0), bulge=0.0,
    defacing=Defacing.NEVER,
)  # fmt: skip
COARSE = Protocol(voxel_mm=(2.0, 2.0, 2.0))
YOUNG = State(20.0, 0.0, 0.0, ())


@pytest.fixture(scope="module")
def anna():
    one = individual(1)
    well = replace(one.life, course=Course.HEALTHY, first_age=60.0, pace=1.0, lesions=())
    return replace(one, life=well)


@pytest.fixture(scope="module")
def seen(anna):
    """A straight, complete, quiet scan, to be changed in one respect."""
    plain = visits(anna.life, count=1, years=0)[0]
    return replace(
        plain, site=IDEAL, protocol=COARSE, pose=Pose(), motion_voxels=0.0, defaced=False,
        cut_first=0.0, cut_last=0.0, dropped=0.0,
    )  # fmt: skip


def ml(mask, scan) -> float:
    return float(mask.sum() * voxel_ml(scan.volume.affine))


def correlation(a, b) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_the_same_visit_gives_the_same_voxels_and_the_next_one_others(anna, seen):
    noisy = replace(seen, site=SITES[2])
    first, again = (examined(individual(1), noisy, bare=True) for _ in range(2))
    np.testing.assert_array_equal(first.volume.data, again.volume.data)
    other = examined(anna, replace(noisy, seed=noisy.seed + 1), bare=True)
    assert other.volume.data.shape != first.volume.data.shape or not np.array_equal(
        other.volume.data, first.volume.data
    )


def test_nobody_else_has_these_folds_and_the_halves_differ(anna):
    own, other = anna.tissues(YOUNG).grey, individual(2).tissues(YOUNG).grey
    cortex = (brain_box().distance > -15) & (brain_box().grey > 0.2) & (brain_box().grey < 0.8)
    assert correlation(own[cortex], other[cortex]) < 0.6
    middle = round(-brain_box().affine[0, 3])  # the template's halves mirror each other
    width = min(middle, own.shape[0] - middle - 1)
    right, left = own[middle : middle + width], own[middle : middle - width : -1]
    there = cortex[middle : middle + width]
    assert correlation(right[there], left[there]) < 0.6


def test_lost_grey_matter_is_as_much_as_stated_and_turns_to_fluid(anna):
    before, after = (anna.tissues(replace(YOUNG, grey_lost=lost)) for lost in (0.0, 0.15))
    assert after.grey.sum() / before.grey.sum() == pytest.approx(0.85, abs=0.01)
    gained = after.fluid.sum() - before.fluid.sum()
    lost = before.grey.sum() + before.white.sum() - after.grey.sum() - after.white.sum()
    assert gained == pytest.approx(lost, rel=1e-3)
    assert after.white.sum() / before.white.sum() > 0.95


def test_disease_takes_most_from_the_temporal_lobes():
    people = [individual(number) for number in range(1, 9)]
    x, y, z = (np.array((26, -16, -20)) - brain_box().affine[:3, 3]).astype(int)
    around = tuple(slice(at - 8, at + 8) for at in (x, y, z))
    lost: dict[bool, list[float]] = {True: [], False: []}
    for one in people:
        before, after = (one.tissues(replace(YOUNG, grey_lost=n)).grey[around] for n in (0, 0.1))
        lost[one.life.course.atrophic].append(1 - float(after.sum() / before.sum()))
    assert np.mean(lost[True]) > 1.8 * np.mean(lost[False])


def test_ventricles_grow_by_as_much_as_stated_and_nothing_folds():
    whole, fluid = anatomy(), _ventricles()
    points = np.indices(fluid.shape, dtype=np.float32) * COARSE_MM
    points += np.reshape(whole.origin, (3, 1, 1, 1))
    moved = (pulled(points, width_for(20.0)) - np.reshape(whole.origin, (3, 1, 1, 1))) / COARSE_MM
    now = ndimage.map_coordinates(fluid, moved, order=1)
    in_head = USUAL_SIZE**3 * COARSE_MM**3 / 1000
    assert (now.sum() - fluid.sum()) * in_head == pytest.approx(20.0, abs=1.0)
    slopes = np.stack([np.stack(np.gradient(moved[axis])) for axis in range(3)])
    assert np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1))).min() > 0


def test_ten_years_widen_the_ventricles_in_the_scan(anna, seen):
    young, old = (examined(anna, replace(seen, age=age), bare=True) for age in (60.0, 80.0))
    dark = []
    for scan in (young, old):
        brain = scan.volume.data > 0
        deep = ndimage.binary_erosion(brain, iterations=10)
        dark.append(ml(deep & (scan.volume.data < 0.45), scan))
    assert dark[1] - dark[0] > 12  # about 28 ml by the rates, some of it not so deep


@pytest.mark.parametrize("contrast", [Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD])
def test_a_lesion_shows_in_every_contrast_and_in_white_matter_only(anna, seen, contrast):
    right, front, top = lesion_sites()[100].tolist()
    spot = Lesion((right, front, top), 5.0, (1.0, 1.0, 1.0), onset_age=55.0, growth_years=2.0)
    ill = replace(anna, life=replace(anna.life, lesions=(spot,)))
    visit = replace(seen, protocol=replace(COARSE, contrast=contrast))
    with_it, without = (examined(one, visit).volume.data for one in (ill, anna))
    change = with_it - without
    strongest = change.ravel()[np.abs(change).argmax()]
    assert (strongest < -0.1) if contrast is Contrast.T1W else (strongest > 0.05)
    changed = np.abs(change) > 0.02
    assert 0.05 < changed.sum() * 8 / 1000 < 2.0  # ml
    assert ndimage.label(changed, np.ones((3, 3, 3)))[1] == 1


def test_a_lesion_ends_where_white_matter_ends(anna):
    white = anna.tissues(YOUNG).white
    picture, (right, front, top) = np.zeros_like(white), lesion_sites()[100].tolist()
    spot = Lesion((right, front, top), 14.0, (1.0, 1.0, 1.0), onset_age=50.0, growth_years=1.0)
    look = (Contrast.FLAIR, brightness(Contrast.FLAIR))
    seen = spotted(picture, white, State(70.0, 0.0, 0.0, ((spot, 14.0),)), look)
    assert seen.max() > 0.1
    assert white[seen > 0].min() < 0.2  # large enough to reach beyond
    assert (seen <= seen.max() * white + 1e-3).all()


def test_a_lesion_that_grew_is_larger_at_the_next_visit(anna, seen):
    right, front, top = lesion_sites()[100].tolist()
    spot = Lesion((right, front, top), 5.0, (1.0, 1.0, 1.0), onset_age=59.0, growth_years=4.0)
    ill = replace(anna, life=replace(anna.life, lesions=(spot,)))
    sizes = []
    for age in (60.0, 63.0, 75.0):
        with_it, without = (
            examined(one, replace(seen, age=age)).volume.data for one in (ill, anna)
        )
        sizes.append((np.abs(with_it - without) > 0.05).sum())
    assert sizes[0] < 0.7 * sizes[1] < 0.7 * sizes[2]


def test_a_bare_scan_holds_the_brain_and_nothing_else(anna, seen):
    scan, head = examined(anna, seen, bare=True), examined(anna, seen)
    mask = scan.volume.data > 0
    assert 1000 < ml(mask, scan) < 1900
    assert ndimage.label(mask)[1] <= 3
    assert (mask[0].sum(), mask[-1].sum()) == (0, 0)  # a margin is left
    assert scan.volume.data.size < 0.6 * head.volume.data.size


def test_two_strippings_of_one_brain_differ_by_a_rough_millimetre():
    ticks = np.linspace(-60, 60, 31, dtype=np.float32)
    ball = np.sqrt(sum(axis**2 for axis in np.meshgrid(ticks, ticks, ticks))) - 45  # depth in mm
    masks = [found_mask(ball, np.random.default_rng(n), (121, 121, 121)) for n in range(12)]
    radii = [(3 * mask.sum() / (4 * np.pi)) ** (1 / 3) for mask in masks]  # voxels are 1 mm
    assert np.mean(radii) == pytest.approx(45.5, abs=0.6)
    assert 0.2 < np.std(radii) < 1.5
    apart = [(one ^ two).sum() / (4 * np.pi * 45**2) for one, two in pairwise(masks)]
    assert 0.5 < np.mean(apart) < 2.5  # mm between two edges
    away = np.linalg.norm(np.indices((121, 121, 121)) - 60.0, axis=0)
    edges = [away[mask & ~ndimage.binary_erosion(mask)] for mask in masks]
    assert 0.45 < np.median([edge.std() for edge in edges]) < 1.2  # mm; 0.25 if smooth


def test_defacing_takes_the_face_and_leaves_the_brain(anna, seen):
    whole, defaced = (examined(anna, replace(seen, defaced=cut)).volume for cut in (False, True))
    gone = (whole.data > 0.05) & (defaced.data == 0)
    assert 200 < gone.sum() * voxel_ml(whole.affine) < 1500
    front = np.argwhere(gone) @ whole.affine[:3, :3].T + whole.affine[:3, 3]
    assert front[:, 1].min() > -40  # none behind the ears
    brain = examined(anna, seen, bare=True).volume
    first = np.round(np.linalg.inv(whole.affine) @ brain.affine[:, 3]).astype(int)[:3]
    place = tuple(slice(f, f + n) for f, n in zip(first, brain.data.shape, strict=True))
    assert (gone[place] & (brain.data > 0.3)).sum() < 0.002 * (brain.data > 0.3).sum()


def test_a_cut_scan_has_fewer_slices_and_shows_the_rest_where_it_is(anna, seen):
    whole = examined(anna, seen, bare=True).volume
    cut = examined(anna, replace(seen, cut_first=0.2), bare=True).volume
    missing = whole.data.shape[2] - cut.data.shape[2]
    assert missing == round(0.2 * whole.data.shape[2])
    assert cut.affine[2, 3] - whole.affine[2, 3] == pytest.approx(2.0 * missing)


def test_dropped_slices_are_empty_and_named(anna, seen):
    scan = examined(anna, replace(seen, dropped=0.1))
    empty = [n for n in range(scan.volume.data.shape[2]) if not scan.volume.data[:, :, n].any()]
    assert set(scan.lost) <= set(empty)
    assert len(scan.lost) > 3


def test_the_same_brain_looks_different_on_another_scanner_yet_alike(anna, seen):
    one, two = (
        examined(anna, replace(seen, site=site)).volume.data for site in (SITES[0], SITES[5])
    )
    middle = tuple(slice(n // 4, -(n // 4)) for n in one.shape)
    assert not np.allclose(one, two, atol=0.05)
    assert correlation(one[middle], two[middle]) > 0.75
