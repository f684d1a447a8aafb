"""Synthetic people: repeatable, different from one another, the same at every visit."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast
from deepbrainprint.simulation.acquisition import Orientation, Protocol
from deepbrainprint.simulation.heads import Conditions, Head, Pose, person
from deepbrainprint.simulation.phantoms import phantom

pytestmark = pytest.mark.slow  # together more than the fast tests may take

COARSE = (2.0, 2.0, 2.0)
PLAIN = Protocol(voxel_mm=COARSE)
STRAIGHT = Pose()
NOISELESS = Conditions(noise=0, bias=0, scanner_spread=0)


@pytest.fixture(scope="module")
def anna() -> Head:
    return person(1)


def deep_of(data) -> np.ndarray:
    """The middle half along each axis: brain and nothing else."""
    first, second, third = (slice(size // 4, -(size // 4)) for size in data.shape)
    return data[first, second, third].ravel()


def deep(scan) -> np.ndarray:
    return deep_of(scan.data)


def likeness(a, b) -> float:
    return float(np.corrcoef(deep(a), deep(b))[0, 1])


def tissue_ml(scan, low: float, high: float) -> float:
    inside = (scan.data > low) & (scan.data < high)
    return float(inside.sum() * abs(np.linalg.det(scan.affine[:3, :3])) / 1000)


def centre(scan) -> np.ndarray:
    """Centre of brightness in RAS mm."""
    index = np.stack(np.indices(scan.data.shape)).reshape(3, -1)
    weighted = (index * scan.data.ravel()).sum(1) / scan.data.sum()
    return scan.affine[:3, :3] @ weighted + scan.affine[:3, 3]


def test_the_same_seeds_give_the_same_voxels(anna):
    again = person(1).scan(PLAIN, seed=3)
    np.testing.assert_array_equal(again.data, anna.scan(PLAIN, seed=3).data)


def test_another_visit_or_person_gives_other_voxels(anna):
    scan = anna.scan(PLAIN, seed=3)
    assert not np.array_equal(scan.data, anna.scan(PLAIN, seed=4).data)
    assert not np.array_equal(scan.data, person(2).scan(PLAIN, seed=3).data)


def test_two_visits_of_one_person_are_more_alike_than_any_two_people(anna):
    first, second = (anna.scan(PLAIN, seed=s, pose=STRAIGHT) for s in (1, 2))
    others = [person(s).scan(PLAIN, seed=1, pose=STRAIGHT) for s in (2, 3)]
    assert likeness(first, second) > 0.9
    assert max(likeness(first, other) for other in others) < likeness(first, second) - 0.15


def test_people_have_brains_of_human_size():
    scans = [person(s).scan(PLAIN, pose=STRAIGHT, conditions=NOISELESS) for s in (1, 2, 3)]
    grey_and_white = [tissue_ml(scan, 0.6, 1.05) for scan in scans]
    assert all(800 < volume < 2000 for volume in grey_and_white)
    assert max(grey_and_white) > 1.05 * min(grey_and_white)


def test_fluid_is_dark_in_t1w_and_bright_in_t2w(anna):
    t1w, t2w = (
        anna.scan(Protocol(contrast, voxel_mm=COARSE), pose=STRAIGHT, conditions=NOISELESS).data
        for contrast in (Contrast.T1W, Contrast.T2W)
    )
    brain = t1w > 0.55
    assert np.corrcoef(t1w[brain], t2w[brain])[0, 1] < -0.3


@pytest.mark.parametrize("contrast", [Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD])
def test_every_contrast_stays_in_range(anna, contrast):
    data = anna.scan(Protocol(contrast, voxel_mm=COARSE), seed=1).data
    assert data.dtype == np.float32
    assert data.min() >= 0
    assert 0.5 < data.max() < 2.5


def test_a_contrast_that_no_scanner_here_makes_is_refused(anna):
    with pytest.raises(BadStudy, match="T1w, T2w, FLAIR or PD"):
        anna.scan(Protocol(Contrast.SWI, voxel_mm=COARSE))


def test_a_voxel_of_no_scanner_is_refused(anna):
    with pytest.raises(BadStudy, match="mm long"):
        anna.scan(Protocol(voxel_mm=(1, 1, 50)))


def test_a_shifted_head_appears_where_it_was_put(anna):
    still = anna.scan(PLAIN, pose=STRAIGHT, conditions=NOISELESS)
    shifted = anna.scan(PLAIN, pose=Pose(shift_mm=(6, 0, 0)), conditions=NOISELESS)
    assert centre(shifted) - centre(still) == pytest.approx((6, 0, 0), abs=0.7)


def test_orientation_changes_the_slices_and_not_the_place(anna):
    scans = [
        anna.scan(Protocol(orientation=o, voxel_mm=COARSE), pose=STRAIGHT, conditions=NOISELESS)
        for o in Orientation
    ]
    assert len({scan.data.shape for scan in scans}) == 3
    for scan in scans:
        assert centre(scan) == pytest.approx(centre(scans[0]), abs=0.3)


def test_an_oblique_scan_shows_the_head_in_the_same_place(anna):
    straight = anna.scan(PLAIN, pose=STRAIGHT, conditions=NOISELESS)
    oblique = Protocol(voxel_mm=COARSE, oblique_deg=(8, 0, 0))
    tilted = anna.scan(oblique, pose=STRAIGHT, conditions=NOISELESS)
    assert not np.allclose(straight.affine, tilted.affine)
    assert centre(tilted) == pytest.approx(centre(straight), abs=1.5)


def test_a_thick_slice_averages_thin_ones(anna):
    thin = anna.scan(Protocol(voxel_mm=(2, 2, 2)), pose=STRAIGHT, conditions=NOISELESS)
    thick = anna.scan(Protocol(voxel_mm=(2, 2, 4)), pose=STRAIGHT, conditions=NOISELESS)
    averaged = thin.data.reshape(*thick.data.shape, 2).mean(3)
    np.testing.assert_allclose(thick.data, averaged, atol=0.01)


def test_age_widens_the_fluid_and_thins_the_grey(anna):
    young, old = (
        anna.scan(PLAIN, pose=STRAIGHT, conditions=Conditions(0, 0, 0, years, 0))
        for years in (0, 30)
    )
    assert (deep(old) < 0.45).mean() > 1.1 * (deep(young) < 0.45).mean()
    assert tissue_ml(old, 0.65, 0.8) < 0.95 * tissue_ml(young, 0.65, 0.8)


def test_motion_blurs_the_brain_and_ghosts_the_air(anna):
    still, moved = (
        anna.scan(PLAIN, pose=STRAIGHT, conditions=Conditions(0, 0, motion, 0, 0))
        for motion in (0, 3)
    )
    corner = (slice(None), slice(0, 4), slice(None))
    assert moved.data[corner].mean() > still.data[corner].mean() + 0.005
    assert likeness(still, moved) > 0.7


def test_noise_and_shading_are_as_strong_as_asked(anna):
    noisy = anna.scan(PLAIN, conditions=Conditions(noise=0.05, bias=0))
    air = noisy.data[:2, :2]
    assert air.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.1)  # Rayleigh


@pytest.mark.slow
@pytest.mark.parametrize("contrast", [Contrast.T1W, Contrast.T2W])
def test_a_skull_stripper_for_real_heads_finds_the_brain(anna, contrast):
    stripper = pytest.importorskip("deepbet.bet").BrainExtraction(no_gpu=True)
    tissue = anna.scan(PLAIN, seed=1, pose=STRAIGHT, conditions=NOISELESS).data
    scan = anna.scan(Protocol(contrast, voxel_mm=COARSE), seed=1, pose=STRAIGHT)
    _, found, millilitres = stripper.run(nib.Nifti1Image(scan.data, scan.affine))
    mask = np.asarray(found.dataobj) > 0
    assert 1100 < millilitres < 2300
    assert deep_of(mask)[deep_of(tissue) > 0.55].mean() > 0.95


def test_a_phantom_is_repeatable_and_holds_no_brain(anna):
    bottle = phantom(5, PLAIN)
    np.testing.assert_array_equal(bottle.data, phantom(5, PLAIN).data)
    assert abs(likeness(bottle, anna.scan(PLAIN, pose=STRAIGHT))) < 0.3
