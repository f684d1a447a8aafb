"""What a brain's cortex measures, region by region, and how alike two brains are by that.

AnatCL (Barbano et al. 2024, arXiv 2408.07079) takes thickness, grey volume and surface of
FreeSurfer's cortical regions. Here regions are blocks of the template, and both thickness and
surface are proxies from tissue shares:

- volume: ∫ g in ml;
- surface: the area of white matter's border, ∫ |∇w| in cm² (coarea formula), which does not move
  when the cortex thins from outside; the walls of the ventricles are counted in;
- thickness: volume over surface, in mm.

Where cubes are as large as the cortex is thick both are far from what is measured on a mesh, and
only differences between people mean something. The paper's exact form of comparison could not be
read; kernels are those of the same laboratory's losses (arXiv 2211.08326).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deepbrainprint.encoder.recipe import GRID_MM

BLOCK_MM = 36
MIDLINE = 91  # voxel of x = 0
# Blocks from the midline outwards, from the back and from below, that hold 8 ml and more of the
# template's grey matter: 25 in each hemisphere, 89 % of all of it
BLOCKS = (
    (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 1, 3), (0, 2, 0), (0, 2, 1), (0, 2, 2), (0, 2, 3),
    (0, 3, 1), (0, 3, 2), (0, 3, 3), (0, 4, 1), (0, 4, 2), (0, 4, 3), (0, 5, 2), (1, 1, 1),
    (1, 1, 2), (1, 2, 1), (1, 2, 2), (1, 2, 3), (1, 3, 1), (1, 3, 2), (1, 3, 3), (1, 4, 1),
    (1, 4, 2),
)  # fmt: skip
REGIONS = 2 * len(BLOCKS)
MEASURES = ("volume", "thickness", "surface")

Cubes = tuple[tuple[int, int], ...]  # first and last + 1 cube along x, y, z


def region_map(cubes: Cubes, step_mm: float) -> Tensor:
    """(Z, X, Y) int64: the region of each cube, `REGIONS` where there is none."""
    x, y, z = (step_mm * (torch.arange(first, last) + 0.5) - 0.5 for first, last in cubes)
    number = torch.full([length // BLOCK_MM + 1 for length in GRID_MM], REGIONS)
    for index, block in enumerate(BLOCKS):
        number[block] = index
    across, along, up = (
        (place / BLOCK_MM).long() for place in ((x - MIDLINE).abs(), y.clamp(min=0), z.clamp(min=0))
    )
    region = number[across[None, :, None], along[None, None, :], up[:, None, None]]
    left = (x < MIDLINE)[None, :, None] & (region < REGIONS)
    numbered: Tensor = region + left * len(BLOCKS)
    return numbered


def describe(shares: Tensor, regions: Tensor, step_mm: float) -> Tensor:
    """(B, R, 3) `MEASURES` of each region.

    shares: (B, 3, Z, X, Y) of grey, white and fluid, 0…1; regions: (Z, X, Y) of `region_map`.
    """
    grey, white = shares[:, 0], shares[:, 1]
    slope = sum(
        (part**2 for part in torch.gradient(white, dim=(1, 2, 3))), torch.tensor(0.0)
    ).sqrt()
    volume = _summed(grey, regions) * step_mm**3
    surface = _summed(slope, regions) * step_mm**2
    thickness = volume / surface.clamp(min=step_mm**2)
    return torch.stack([volume / 1000, thickness, surface / 100], dim=2)


def _summed(density: Tensor, regions: Tensor) -> Tensor:
    """(B, Z, X, Y) → (B, R)."""
    sums = density.new_zeros(len(density), REGIONS + 1)
    return sums.index_add_(1, regions.flatten(), density.flatten(1))[:, :REGIONS]


@dataclass(frozen=True)
class Norms:
    """What is usual: mean and standard deviation (R, 3) of each measure of each region."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, descriptors: Tensor) -> Norms:
        """From a population (N, R, 3)."""
        return cls(descriptors.mean(dim=0), descriptors.std(dim=0).clamp(min=1e-6))

    def standardised(self, descriptors: Tensor) -> Tensor:
        """(B, R, 3) in standard deviations from the mean."""
        return (descriptors - self.mean) / self.deviation


def squared_distances(standardised: Tensor, kind: Literal["local", "global"]) -> Tensor:
    """(B, B, C) mean squared distances between people in each of C comparisons.

    `local` compares the three measures of one region, C = R; `global` compares one measure of
    all regions, C = 3. A kernel of them averaged over C is how alike two brains are.
    """
    if kind == "global":
        standardised = standardised.transpose(1, 2)
    gaps = standardised[:, None] - standardised[None]  # (B, B, C, what is compared)
    return (gaps**2).mean(dim=3)
