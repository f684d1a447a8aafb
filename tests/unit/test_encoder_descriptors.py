"""Regional measures of tissue shares, on shapes whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.descriptors import (  # noqa: E402
    BLOCKS,
    REGIONS,
    Norms,
    describe,
    region_map,
    squared_distances,
)
from deepbrainprint.imaging.template import tissue_share  # noqa: E402
from deepbrainprint.imaging.tissue import in_cubes  # noqa: E402

CUBES = ((0, 60), (0, 72), (0, 60))


def _sphere(inner_mm, outer_mm, step=2.0, half=40.0):
    """Shares (1, 3, Z, X, Y) of a ball of white in a shell of grey in fluid, cubes of `step`."""
    line = torch.arange(-half, half + step, step)
    radius = (line[:, None, None] ** 2 + line[None, :, None] ** 2 + line[None, None] ** 2).sqrt()
    ball, whole = (((r - radius) / step + 0.5).clamp(0, 1) for r in (inner_mm, outer_mm))
    return torch.stack([whole - ball, ball, 1 - whole])[None]


def _only(shares):
    """The first region's measures when it holds everything."""
    regions = torch.zeros(shares.shape[2:], dtype=torch.int64)
    return describe(shares, regions, 2.0)[0, 0].tolist()


def test_a_shell_has_its_volume_surface_and_thickness():
    volume, thickness, surface = _only(_sphere(20, 28))
    assert volume == pytest.approx(4 / 3 * np.pi * (28**3 - 20**3) / 1000, rel=0.01)
    assert surface == pytest.approx(4 * np.pi * 20**2 / 100, rel=0.03)
    assert thickness == pytest.approx(1000 * volume / (100 * surface), rel=1e-5)


def test_a_thinner_cortex_measures_less():
    thick, thin = _only(_sphere(20, 28)), _only(_sphere(20, 26))
    assert thin[0] < thick[0]
    assert thin[1] < 0.8 * thick[1]
    assert thin[2] == pytest.approx(thick[2], rel=0.02)


def test_deeper_folds_are_more_surface():
    larger, smaller = _only(_sphere(24, 28)), _only(_sphere(20, 28))
    assert larger[2] == pytest.approx(smaller[2] * (24 / 20) ** 2, rel=0.03)


def test_regions_are_mirror_images_and_all_there():
    regions = region_map(CUBES, 3.0)
    counts = torch.bincount(regions.flatten(), minlength=REGIONS + 1)
    assert (counts > 0).all()
    assert 2 * len(BLOCKS) == REGIONS
    right, left = counts[: len(BLOCKS)], counts[len(BLOCKS) : REGIONS]
    assert (left / right).min() > 0.85  # the midline's cubes count as right
    middle = 30  # the cube whose centre is x = 0
    across = regions[:, middle + 1 :], regions[:, 1:middle].flip(1)
    mirrored = torch.where(across[1] < REGIONS, across[1] - len(BLOCKS), REGIONS)
    assert torch.equal(across[0], mirrored)


def test_every_region_holds_grey_matter_of_the_template():
    grey = in_cubes((tissue_share("gm") * 255).astype(np.uint8), 3.0)
    shares = torch.zeros(1, 3, 60, 60, 72)
    shares[0, 0] = torch.from_numpy(grey).permute(2, 0, 1) / 255
    volumes = describe(shares, region_map(CUBES, 3.0), 3.0)[0, :, 0]
    assert volumes.min() > 8
    assert volumes.sum() > 0.85 * shares.sum() * 0.027


def test_local_compares_region_by_region_and_global_measure_by_measure():
    a, b = torch.zeros(4, 3), torch.zeros(4, 3)
    b[2] = torch.tensor([3.0, 0, 0])  # one region differs, in one measure
    both = torch.stack([a, b])
    assert squared_distances(both, "local")[0, 1].tolist() == [0, 0, 3, 0]
    assert squared_distances(both, "global")[0, 1].tolist() == [2.25, 0, 0]


def test_norms_make_every_measure_count_the_same():
    drawn = torch.randn(500, 4, 3, generator=torch.Generator().manual_seed(0))
    population = drawn * torch.tensor([10.0, 0.1, 3.0]) + 5
    usual = Norms.of(population).standardised(population)
    assert usual.mean(dim=0).abs().max() < 1e-4
    torch.testing.assert_close(usual.std(dim=0), torch.ones(4, 3))
