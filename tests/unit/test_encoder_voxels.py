"""Acquired voxels: how large they are, and what they do to a volume."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.lattice import Lattice  # noqa: E402
from deepbrainprint.encoder.voxels import (  # noqa: E402
    Voxel,
    acquire,
    draw_voxel,
    photograph,
    slicing,
)

COARSE = Lattice(8)
PLAIN = Voxel((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_resolutions_are_a_mixture_of_four_equal_quarters():
    voxels = [draw_voxel(_seeded(s)) for s in range(800)]
    fine = np.mean([v == PLAIN for v in voxels])
    one_axis = np.mean([sorted(v.spacing)[:2] == [1, 1] and max(v.spacing) > 1 for v in voxels])
    axial = np.mean([1.3 <= v.spacing[0] <= 1.7 and v.spacing[2] >= 5 for v in voxels])
    scout = np.mean([min(v.spacing) >= 2 for v in voxels])
    for share in (fine, one_axis, axial, scout):
        assert share == pytest.approx(0.25, abs=0.05)
    assert fine + one_axis + axial + scout == pytest.approx(1)


def test_thick_slices_along_one_axis_are_as_stated():
    voxels = [draw_voxel(_seeded(s)) for s in range(800)]
    thick = [v for v in voxels if sorted(v.spacing)[:2] == [1, 1] and max(v.spacing) > 1]
    spacing = np.array([max(v.spacing) for v in thick])
    assert (spacing.min() >= 2.5, spacing.max() <= 8.5) == (True, True)
    assert spacing.mean() == pytest.approx(5.5, abs=0.4)
    for voxel in thick:
        axis = int(np.argmax(voxel.spacing))
        assert voxel.thickness[axis] <= min(6.0, voxel.spacing[axis]) + 1e-6
    assert {int(np.argmax(v.spacing)) for v in thick} == {0, 1, 2}


def test_an_even_volume_stays_even_through_any_voxel():
    even = torch.full(COARSE.shape, 100.0)
    for voxel in (PLAIN, photograph(11.0), Voxel((9.0, 10.0, 12.0), (9.0, 10.0, 12.0))):
        seen = acquire(even, voxel, COARSE, noise=0.0, generator=_seeded())
        torch.testing.assert_close(seen, even, atol=1e-2, rtol=0)


def test_a_slice_profile_deviates_by_ln5_over_pi_of_its_thickness():
    sampled, _ = slicing(101, 1.0, 6.0, 1.0)
    place = torch.arange(101.0)
    variance = (sampled[50] * (place - 50) ** 2).sum()
    assert variance**0.5 == pytest.approx(math.log(5) / math.pi * 6, rel=0.01)


def test_slices_stand_centred_over_the_volume_and_return_to_it():
    ramp = torch.arange(64.0)
    sampled, returned = slicing(64, 6.0, 0.0, 3.0)
    assert sampled.shape == (32, 64)
    torch.testing.assert_close(sampled @ ramp, torch.arange(32.0) * 2 + 0.5)
    torch.testing.assert_close((returned @ sampled @ ramp)[2:-2], ramp[2:-2])


def test_noise_has_the_stated_deviation_in_an_acquired_voxel():
    even = torch.full((30, 30, 30), 100.0)
    at_step = acquire(
        even, Voxel((3.0,) * 3, (3.0,) * 3), Lattice(3), noise=10, generator=_seeded()
    )
    assert at_step.std() == pytest.approx(10, rel=0.05)
    finer = acquire(even, PLAIN, Lattice(3), noise=10, generator=_seeded())
    assert finer.std() == pytest.approx(10 / 27**0.5, rel=0.05)


def test_a_stripped_scan_has_no_noise_outside_the_head():
    volume = torch.zeros(20, 20, 20)
    volume[5:15, 5:15, 5:15] = 100
    seen = acquire(volume, PLAIN, Lattice(3), noise=15, generator=_seeded())
    assert seen[:5].abs().max() == 0
    assert seen[6:14, 6:14, 6:14].std() > 1
