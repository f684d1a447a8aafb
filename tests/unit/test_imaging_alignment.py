"""Alignment of heads whose true pose is known: the template itself, moved."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from deepbrainprint.imaging import cuda, registration, template
from deepbrainprint.imaging.alignment import CUT, align, find
from deepbrainprint.imaging.pose import TURNS
from deepbrainprint.imaging.registration import Problem, exponential
from deepbrainprint.records import Volume

pytestmark = pytest.mark.slow  # together more than the fast tests may take

CORNERS = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])


@functools.cache
def thin_template():
    """The template at 2 mm: quick to align, and in no way special."""
    affine = template.affine() @ np.diag([2.0, 2.0, 2.0, 1.0])
    data = template.reference().data[::2, ::2, ::2].copy()
    return Volume(data, affine), template.mask()[::2, ::2, ::2].copy()


def pose(degrees=(0, 0, 0), shift=(0, 0, 0), scale=1.0):
    """Where the template's world comes to lie in the scanner's."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * scale
    matrix[:3, 3] = shift
    return matrix


def displacement(found, true):
    return float(np.linalg.norm((CORNERS @ (found - true).T)[:, :3], axis=1).max())


@pytest.mark.parametrize(
    "true",
    [
        pose((25, 0, 0), (40, -80, 100)),
        pose((-25, 15, 20)),
        pose((0, -25, 25), scale=0.85),
    ],
    ids=["nodding", "turned every way", "small and turned"],
)
def test_a_moved_head_comes_back(true):
    volume, mask = thin_template()
    found = find(Volume(volume.data, true @ volume.affine), mask)
    assert displacement(found, true) < 1.5  # mm, at the corners of the brain


def test_contrast_does_not_matter():
    volume, mask = thin_template()
    inverted = Volume(np.where(mask, 300 - volume.data, 0).astype(np.float32), volume.affine)
    assert displacement(find(inverted, mask), np.eye(4)) < 3


def test_missing_slices_do_not_stretch_the_brain():
    volume, mask = thin_template()
    top = 50  # a third of the brain is missing
    found = find(Volume(volume.data[:, :, :top], volume.affine), mask[:, :, :top])
    assert displacement(found, np.eye(4)) < 1


def test_a_moved_head_is_resampled_onto_the_template():
    volume, mask = thin_template()
    moved = Volume(volume.data, pose((20, -10, 15), (30, 0, -20)) @ volume.affine)
    made = align(moved, mask)
    assert (made.brain.shape, made.brain.dtype) == (template.SHAPE, np.uint8)
    assert (made.brain.max(), made.brain[0, 0, 0]) == (255, 0)
    inside = made.brain > 0
    expected = template.reference().data[inside]
    assert np.corrcoef(made.brain[inside], expected)[0, 1] > 0.95
    assert made.scale == pytest.approx(1, abs=0.02)
    assert made.quality["residual"] < 0.1
    assert made.quality["overlap"] > 0.97


def test_a_scan_that_ends_early_says_how_much_it_covers():
    volume, mask = thin_template()
    made = align(Volume(volume.data[:, :, :62], volume.affine), mask[:, :, :62])
    assert made.quality["coverage"] == pytest.approx(mask[:, :, :62].sum() / mask.sum(), abs=0.02)
    assert made.quality["overlap"] > 0.95  # of what it covers


def test_brightness_changes_no_bit():
    volume, mask = thin_template()
    brighter = Volume(volume.data * 4, volume.affine)
    assert np.array_equal(align(volume, mask).brain, align(brighter, mask).brain)


def looking_at_itself():
    volume, mask = thin_template()
    thinned = registration.thinned(volume, mask)
    target, source = registration.target(*thinned, mm=8), registration.source(*thinned, mm=8)
    return Problem(target, source, CUT, np.zeros(3), np.zeros(3))


def test_the_gradient_of_the_loss_is_exact():
    problem = looking_at_itself()
    at = np.random.default_rng(0).normal(size=12) * 2
    steps = np.eye(12) * 1e-3
    measured = [(problem.loss(at + s)[0] - problem.loss(at - s)[0]) / 2e-3 for s in steps]
    assert np.allclose(problem.loss(at)[1], measured, rtol=0.02, atol=2e-5)


@pytest.mark.parametrize("shift", [0.0, 60.0])  # all inside, and partly out of the field of view
def test_a_device_makes_the_same_sums_as_the_processor(monkeypatch, shift):
    problem = looking_at_itself()
    at = np.random.default_rng(1).normal(size=12) * 2
    at[2] += shift
    loss, gradient = problem.loss(at)
    monkeypatch.setattr(cuda, "device", lambda: "cpu")  # torch's, where there is no other
    again, slope = problem.loss(at)
    assert again == pytest.approx(loss, abs=1e-6)
    assert np.allclose(slope, gradient, atol=1e-6)


def test_the_exponential_of_a_turn_is_a_rotation():
    turned = exponential(1.2 * registration.GENERATORS[2])
    assert np.allclose(turned, Rotation.from_rotvec([0, 0, 1.2]).as_matrix())


def test_a_mask_that_closes_like_a_dome_at_a_cut_does_not_shift_the_brain():
    volume, mask = thin_template()
    top = 56  # slices; the rest of the brain is outside the field of view
    dome = mask[:, :, :top].copy()
    for k, share in enumerate((0.25, 0.5, 0.75), start=1):  # the outermost planes, too small
        dome[:, :, -k] &= ndimage.distance_transform_edt(dome[:, :, -k]) > 12 * (1 - share)
    found = find(Volume(volume.data[:, :, :top].copy(), volume.affine), dome)
    assert displacement(found, np.eye(4)) < 1


@pytest.mark.parametrize("turn", [1, 5, 9, 13, 17, 21])
def test_a_header_that_is_wrong_about_orientation_does_not_matter(turn):
    volume, mask = thin_template()
    true = pose((10, -15, 20), (30, 0, 60))
    true[:3, :3] = true[:3, :3] @ TURNS[turn]
    found = find(Volume(volume.data, true @ volume.affine), mask)
    assert displacement(found, true) < 1.5  # mm, at the corners of the brain


def test_an_upright_brain_is_never_mirrored():
    volume, mask = thin_template()
    mirrored = Volume(volume.data[::-1].copy(), volume.affine)
    assert np.linalg.det(find(mirrored, mask[::-1].copy())[:3, :3]) > 0
