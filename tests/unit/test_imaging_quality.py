from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.imaging import quality, strip
from deepbrainprint.records import Volume

GOOD = {
    "mask_ml": 1400.0, "scale": 0.75, "stretch": 1.1, "residual": 0.6, "overlap": 0.95,
    "coverage": 1.0, "slice_mm": 1.0, "noise": 0.02,
}  # fmt: skip


def ball(radius, *, edge=60, mm=3.0, outside=0.0, value=100.0):
    """A ball (edge³ voxels) of `radius` mm in an even background."""
    place = (np.indices((edge,) * 3) - (edge - 1) / 2) * mm
    inside = (place**2).sum(axis=0) < radius**2
    data = np.where(inside, value, outside).astype(np.float32)
    return Volume(data, np.diag([mm, mm, mm, 1.0])), inside


def test_a_good_scan_has_no_flags():
    assert quality.flags(GOOD) == ()


@pytest.mark.parametrize(
    ("figure", "value", "flag"),
    [
        ("residual", 0.85, "doubtful_alignment"),
        ("overlap", 0.7, "unusual_outline"),
        ("coverage", 0.6, "partial_coverage"),
        ("scale", 0.3, "unusual_size"),
        ("noise", 0.3, "noisy"),
    ],
)
def test_a_doubtful_figure_is_low_quality_and_named(figure, value, flag):
    assert quality.flags(GOOD | {figure: value}) == ("low_quality", flag)


def test_thick_slices_are_noted_but_are_no_low_quality():
    assert quality.flags(GOOD | {"slice_mm": 8.0}) == ("thick_slices",)


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_noise_is_measured_relative_to_the_range_of_the_brain(sigma):
    volume, mask = ball(60)
    ramp = np.linspace(0, 1, 60, dtype=np.float32)[:, None, None]
    drawn = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32)
    low, high = np.percentile((ramp + 0 * drawn)[mask], (1, 99))
    noisy = Volume(ramp + sigma * (high - low) * drawn, volume.affine)
    assert quality.noise(noisy, mask) == pytest.approx(sigma, rel=0.25)


def test_what_is_not_zero_is_the_brain_of_a_stripped_image():
    volume, inside = ball(65)
    volume.data[30, 30, 30] = 0  # a ventricle of exact zeros stays inside
    found = strip.foreground(volume)
    assert found is not None
    assert np.array_equal(found, inside)


@pytest.mark.parametrize("radius", [25, 85])
def test_a_zero_background_around_no_brain_sized_thing_is_not_taken_for_stripped(radius):
    assert strip.foreground(ball(radius)[0]) is None


def test_an_image_with_a_background_of_noise_is_not_taken_for_stripped():
    volume, _ = ball(65)
    drawn = np.random.default_rng(0).normal(3.0, 1.0, volume.data.shape).astype(np.float32)
    assert strip.foreground(Volume(volume.data + drawn, volume.affine)) is None


def test_a_background_of_one_value_is_that_of_a_stripped_image():
    volume, inside = ball(65, outside=3.0)
    found = strip.foreground(volume)
    assert found is not None
    assert np.array_equal(found, inside)


def test_an_image_of_nothing_has_no_foreground():
    assert strip.foreground(ball(0)[0]) is None
