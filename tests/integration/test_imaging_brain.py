"""Skull stripping and alignment of real heads, and of what is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging import brain, quality, volume
from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.imaging.strip import brain_mask
from deepbrainprint.records import Volume
from deepbrainprint.simulation.heads import person

pytestmark = pytest.mark.slow  # deepbet takes seconds for each

TWO_MM = np.diag([2.0, 2.0, 2.0, 1.0])


def agreement(first: Alignment, second: Alignment) -> float:
    """Correlation inside both brains."""
    both = (first.brain > 0) & (second.brain > 0)
    return float(np.corrcoef(first.brain[both], second.brain[both])[0, 1])


def between(first: Alignment, second: Alignment) -> np.ndarray:
    """From the first scan's world to the second's, through the template."""
    return second.transform @ np.linalg.inv(first.transform)


def refused(data: np.ndarray, affine: np.ndarray = TWO_MM) -> NotApplicable:
    with pytest.raises(NotApplicable) as caught:
        brain.extract(Volume(data.astype(np.float32), affine))
    return caught.value


@pytest.fixture
def place():
    return np.indices((100, 110, 100)) * 2.0 - np.array([100, 110, 100])[:, None, None, None]


def test_two_visits_of_one_person_in_one_contrast_become_the_same_brain(shared_data):
    first, second = (
        brain.extract(volume.read(shared_data / f"repeat/study{n}_FLAIR.nii.gz")) for n in (1, 2)
    )
    other = brain.extract(volume.read(shared_data / "t1_t2/sub-01_T1w.nii.gz"))
    assert agreement(first, second) > 0.9
    assert agreement(first, second) > agreement(first, other) + 0.3


def test_two_contrasts_of_one_visit_lie_in_one_place(shared_data):
    """Both were stored in one scanner's world, and each was aligned without knowing the other."""
    t1w, flair = (
        brain.extract(volume.read(shared_data / f"repeat/study1_{c}.nii.gz"))
        for c in ("T1W", "FLAIR")
    )
    cortex = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])
    apart = (cortex @ (flair.transform - t1w.transform).T)[:, :3]
    assert np.linalg.norm(apart, axis=1).mean() < 2.5  # mm
    assert np.linalg.det(between(t1w, flair)) == pytest.approx(1, abs=0.04)


def test_a_thick_t2w_scan_is_stripped_as_its_t1w_neighbour(shared_data):
    sizes = [
        brain.extract(volume.read(shared_data / f"t1_t2/sub-02_{c}.nii.gz")).mask_ml
        for c in ("T1w", "inplaneT2")
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.06)


def test_a_brain_that_arrives_without_its_skull_keeps_its_outline(shared_data):
    scan = volume.read(shared_data / "t1w/sub-07_T1w.nii.gz")
    outline = ndimage.binary_fill_holes(scan.data != 0)
    assert (brain_mask(scan) == outline).mean() > 0.999


def test_a_real_brain_has_no_doubts_about_it(shared_data):
    made = brain.extract(volume.read(shared_data / "t1_t2/sub-01_T1w.nii.gz"))
    assert quality.flags(made.quality) == ()
    assert 1300 < made.mask_ml < 1800


def test_a_synthetic_head_is_a_brain():
    scan = person(5).scan()
    turned = Volume(scan.data[::-1, ::-1], scan.affine @ np.diag([-1.0, -1, 1, 1]))
    assert brain.extract(turned).residual < quality.DOUBTFUL_RESIDUAL


def test_noise_is_no_brain(place):
    noise = np.abs(np.random.default_rng(0).normal(size=place[0].shape))
    assert refused(noise * 100).code == "not_a_brain"


def test_a_bottle_of_water_is_no_brain(place):
    inside = (place[0] ** 2 + place[1] ** 2 < 75**2) & (abs(place[2]) < 80)
    noise = np.abs(np.random.default_rng(0).normal(size=inside.shape))
    assert refused(inside * 500 + 5 * noise).code == "not_a_brain"


def test_an_orange_is_no_brain(place):
    radius = np.sqrt((place**2).sum(axis=0))
    pieces = 150 + 60 * np.cos(10 * np.arctan2(place[0], place[2]))
    assert (
        refused(np.where(radius < 68, np.where(radius > 62, 60, pieces), 0)).code == "not_a_brain"
    )


def test_a_single_bright_voxel_is_no_brain(place):
    data = np.zeros(place[0].shape)
    data[50, 50, 50] = 1
    assert "no brain found" in str(refused(data))
