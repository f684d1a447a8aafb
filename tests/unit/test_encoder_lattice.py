"""Where generated volumes lie, and how far people are from the anatomies that they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.lattice import (  # noqa: E402
    CENTRE,
    LINEAR,
    Deforming,
    Lattice,
    draw_deformation,
    on_grid,
    on_lattice,
)
from deepbrainprint.records import InputForm  # noqa: E402

COARSE = Lattice(8)
STILL = Deforming(degrees=0, shear=0, scale=0, displacement_mm=0)


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def _deformation(seed=0, deforming=None, lattice=COARSE):
    return draw_deformation(lattice, _seeded(seed), deforming or Deforming())


def test_the_lattice_is_cut_from_the_cubes_that_a_whole_brain_is_reduced_to():
    lattice = Lattice(3)
    assert lattice.shape == (56, 56, 64)
    whole = InputForm("volume", step_mm=3).shape
    assert all(stop <= size for (_, stop), size in zip(lattice.window, whole, strict=True))
    z, x, y = lattice.axes()
    assert (z[0], x[0], y[0]) == (1, 7, 13)  # the middle voxel of three from 0, 6 and 12 on


def test_a_volume_on_the_lattice_is_found_at_its_own_positions():
    volume = torch.rand(2, *COARSE.shape, generator=_seeded())
    torch.testing.assert_close(
        on_lattice(volume, COARSE.positions(), COARSE), volume, atol=1e-5, rtol=0
    )


def test_beyond_the_lattice_its_edge_goes_on_and_beyond_the_grid_there_is_nothing():
    far = COARSE.positions() + 500
    ones = torch.ones(1, *COARSE.shape)
    torch.testing.assert_close(on_lattice(ones, far, COARSE), ones)
    assert on_grid(torch.ones(1, 91, 91, 109), far).abs().max() == 0


def test_channels_over_the_grid_are_sampled_where_they_lie():
    z, x, y = torch.meshgrid(
        torch.arange(182.0),
        torch.arange(91.0) * 2 + 0.5,
        torch.arange(109.0) * 2 + 0.5,
        indexing="ij",
    )
    found = on_grid(torch.stack([x, y, z]), COARSE.positions())
    torch.testing.assert_close(found.movedim(0, -1), COARSE.positions(), atol=1e-3, rtol=0)


def test_without_deformation_a_person_is_the_anatomy():
    deformation = _deformation(1, STILL)
    places = deformation.places(COARSE)
    mirrored = deformation.linear[0, 0] < 0
    assert mirrored == (_deformation(1).linear.det() < 0)
    expected = COARSE.positions()
    if mirrored:
        expected[..., 0] = 181 - expected[..., 0]
    torch.testing.assert_close(places, expected, atol=1e-3, rtol=0)


def test_half_of_the_people_are_mirrored():
    mirrored = [float(_deformation(seed).linear.det() < 0) for seed in range(200)]
    assert 0.38 < np.mean(mirrored) < 0.62


@pytest.mark.parametrize(
    ("deforming", "lowest", "highest"),
    [
        (Deforming(0, 0, 0.2, 0), 0.8, 1.2),
        (Deforming(15, 0, 0, 0), 1.0, 1.0),
    ],
)
def test_a_person_is_scaled_within_the_stated_range(deforming, lowest, highest):
    sizes = torch.stack(
        [torch.linalg.norm(_deformation(s, deforming).linear, dim=1) for s in range(150)]
    )
    assert sizes.min() == pytest.approx(lowest, abs=0.02)
    assert sizes.max() == pytest.approx(highest, abs=0.02)


def test_a_person_is_turned_by_at_most_15_degrees_about_each_axis():
    turns = []
    for seed in range(100):
        linear = _deformation(seed, Deforming(15, 0, 0, 0)).linear
        linear = torch.diag(torch.tensor([linear.det(), 1, 1])) @ linear
        turns.append(math.degrees(math.acos(min(1, float((linear.trace() - 1) / 2)))))
    assert max(turns) < 15 * 3**0.5
    # length of a vector of three uniform draws in ±1: 0.96 on average
    assert np.mean(turns) == pytest.approx(0.96 * 15, rel=0.1)


def test_shear_moves_each_axis_along_the_others():
    slanted = torch.stack(
        [_deformation(s, Deforming(0, 0.2, 0, 0)).linear.abs() for s in range(150)]
    )
    off = slanted[:, ~torch.eye(3, dtype=torch.bool)]
    assert off.max() == pytest.approx(0.24, abs=0.05)  # 0.2, and what two shears do together
    assert off.mean() == pytest.approx(0.1, abs=0.02)


def test_displacements_deviate_as_interpolated_control_points_would():
    fields = torch.stack([_deformation(s).displacement for s in range(60)])
    # control points deviate by up to 4 mm, evenly drawn: 4/√3 in the quadratic mean
    assert fields.std() == pytest.approx(4 / 3**0.5 * LINEAR, rel=0.15)
    assert fields.flatten(1).std(dim=1).min() < 0.4


def test_an_inverted_deformation_leads_back():
    lattice = Lattice(6)
    deformation = _deformation(4, lattice=lattice)
    there = deformation.inverse(lattice)
    displacement = on_lattice(deformation.displacement.movedim(-1, 0), there, lattice).movedim(
        0, -1
    )
    back = (there + displacement - CENTRE) @ deformation.linear.T + CENTRE
    unit = lattice.unit(there).abs().amax(dim=-1)
    error = (back - lattice.positions()).norm(dim=-1)[unit < 1]
    assert error.max() < 0.05


def test_a_pose_moves_a_scan_but_not_the_person():
    deformation = _deformation(3, STILL)
    pose = torch.cat([torch.eye(3), torch.tensor([[2.0], [0], [-1]])], dim=1)
    moved = deformation.places(COARSE, pose) - deformation.places(COARSE)
    wanted = (deformation.linear @ torch.tensor([2.0, 0, -1])).expand_as(moved)
    torch.testing.assert_close(moved, wanted, atol=1e-4, rtol=0)
