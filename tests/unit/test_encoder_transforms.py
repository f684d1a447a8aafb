"""DeepBrainPrint's augmentations do what the paper says, as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepbrainprint.encoder import transforms
from deepbrainprint.encoder.recipe import PUBLISHED
from deepbrainprint.encoder.transforms import STEPS, augmented

MANY = 3000


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(count, rows=24, columns=30):
    """Scans (count, 1, rows, columns) that rise along both edges, 0…1."""
    x, y = torch.linspace(0, 1, rows)[:, None], torch.linspace(0, 1, columns)[None, :]
    return ((x + 2 * y) / 3).expand(count, 1, rows, columns).contiguous()


def changed(name, count=MANY):
    before = ramps(count)
    after = STEPS[name](before, chance())
    return ((after - before).abs().amax(dim=(1, 2, 3)) > 1e-4).float().mean().item()


@pytest.mark.parametrize(
    ("name", "probability"),
    [("negative", 0.4), ("shift", 0.4), ("bias", 0.3), ("dropout", 0.4), ("elastic", 0.3)],
)
def test_each_is_applied_as_often_as_published(name, probability):
    assert changed(name) == pytest.approx(probability, abs=0.03)  # 3 standard deviations


def test_every_scan_is_turned_by_up_to_three_degrees():
    marked = torch.zeros(400, 1, 181, 217)
    marked[:, :, 90, 188:] = 1  # a line from near the middle of one edge inwards
    turned = transforms.rotation(marked, chance())
    weight = turned[:, 0, :, 200] + 1e-9
    place = (weight * torch.arange(181)).sum(dim=1) / weight.sum(dim=1) - 90
    degrees = np.degrees(np.arctan2(place.numpy(), 200 - 108))
    assert np.abs(degrees).max() == pytest.approx(3, abs=0.1)
    assert degrees.std() == pytest.approx(3 / np.sqrt(3), abs=0.2)  # uniform


def test_a_turn_keeps_shapes_on_planes_that_are_not_square():
    disc = torch.zeros(50, 1, 91, 151)
    x, y = torch.arange(91)[:, None], torch.arange(151)[None, :]
    disc[:] = ((x - 45) ** 2 + (y - 75) ** 2 < 400).float()
    turned = transforms.rotation(disc, chance())
    assert (turned - disc).abs().mean() < 2e-3  # a disc in the middle stays one


def test_a_negative_keeps_range_and_order_reversed():
    before = ramps(60)
    after = transforms.negative(before, chance())
    flipped = (after[:, 0, 0, 0] > 0.5).nonzero()[:, 0]
    assert 10 < len(flipped) < 40
    assert torch.allclose(after[flipped], 1 - before[flipped], atol=1e-6)


def test_an_offset_is_uniform_up_to_a_quarter():
    offset = (transforms.shift(ramps(MANY), chance()) - ramps(MANY)).mean(dim=(1, 2, 3))
    used = offset[offset != 0]
    assert used.abs().max() < 0.25
    assert used.std().item() == pytest.approx(0.25 / np.sqrt(3), abs=0.01)


def test_a_bias_field_is_smooth_positive_and_multiplies():
    before = torch.ones(200, 1, 40, 50)
    field = transforms.bias(before, chance())
    assert 0.5 < field.min() < 1 < field.max() < np.exp(1.01)  # ten coefficients up to 0.1
    assert (field[:, :, 1:] - field[:, :, :-1]).abs().max() < 0.15
    assert torch.equal(transforms.bias(0 * before, chance()), 0 * before)


def test_three_holes_of_ten_by_ten_are_filled_from_the_scans_own_range():
    before = ramps(300, 120, 140)
    after = transforms.dropout(before, chance())
    lost = (after != before).sum(dim=(1, 2, 3))
    assert 200 < lost.max() <= 300  # holes may overlap
    assert lost[lost > 0].float().mean() > 280
    assert after.min() >= 0
    assert after.max() <= 1


def test_an_elastic_change_moves_by_pixels_not_by_more():
    before = torch.arange(150.0).expand(200, 1, 120, 150).contiguous()  # shows y itself
    moved = (transforms.elastic(before, chance()) - before)[..., 20:-20]
    used = moved[moved.abs().amax(dim=(1, 2, 3)) > 1e-4]
    assert 0.4 < used.std() < 1.6  # steps of 1 to 2 pixels, less between control points
    assert used.abs().max() < 9


def test_one_seed_gives_one_result_and_another_another():
    before = ramps(8)
    assert torch.equal(
        augmented(before, chance(1), PUBLISHED), augmented(before, chance(1), PUBLISHED)
    )
    assert not torch.equal(
        augmented(before, chance(1), PUBLISHED), augmented(before, chance(2), PUBLISHED)
    )


def test_planes_of_one_scan_stay_together():
    before = ramps(40).repeat(1, 3, 1, 1)
    names = [name for name in PUBLISHED if name != "dropout"]  # whose holes are noise
    after = augmented(before, chance(), names)
    assert torch.equal(after[:, 0], after[:, 1])
    assert torch.equal(after[:, 0], after[:, 2])


def test_nothing_chosen_changes_nothing():
    assert torch.equal(augmented(ramps(4), chance(), ()), ramps(4))


@pytest.mark.parametrize(
    ("name", "probability"), [("mirror", 0.5), ("contrast", 0.8), ("blur", 0.5), ("noise", 0.5)]
)
def test_each_usual_transform_is_applied_as_often_as_stated(name, probability):
    assert changed(name) == pytest.approx(probability, abs=0.03)


def test_a_crop_shows_seventy_to_a_hundred_percent_of_the_area():
    before = torch.arange(150.0).expand(400, 1, 120, 150).contiguous()  # shows y itself
    seen = transforms.crop(before, chance())[:, 0, 60]
    share = ((seen[:, -1] - seen[:, 0]) / 149) ** 2
    assert share.min() == pytest.approx(0.7, abs=0.02)
    assert share.max() <= 1
    assert seen.min() >= 0
    assert seen[:, 0].std() > 2  # anywhere, not always the middle


def test_contrast_stretches_about_the_mean():
    before = ramps(200)
    after = transforms.contrast(before, chance())
    assert torch.allclose(after.mean(dim=(1, 2, 3)), before.mean(dim=(1, 2, 3)), atol=1e-5)
    gain = after.std(dim=(1, 2, 3)) / before.std(dim=(1, 2, 3))
    assert 0.6 <= gain.min() < 0.65
    assert 1.35 < gain.max() <= 1.4


def test_a_blur_takes_detail_away_and_keeps_the_mean_of_a_spot():
    spot = torch.zeros(100, 1, 21, 21)
    spot[:, :, 10, 10] = 1
    after = transforms.blur(spot, chance())
    assert torch.allclose(after.sum(dim=(1, 2, 3)), torch.ones(100), atol=1e-5)
    assert 0.1 < after[:, 0, 10, 10].min() < 0.3


def test_noise_is_of_at_most_a_tenth():
    level = transforms.noise(torch.zeros(300, 1, 40, 40), chance()).std(dim=(1, 2, 3))
    assert 0.09 < level.max() < 0.11
