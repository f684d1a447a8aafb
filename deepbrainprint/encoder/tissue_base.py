"""Base anatomies in the form from which people are generated as tissues."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.anatomy import Anatomy

GREY, WHITE, FLUID, EXPOSED = range(4)  # channels of `TissueBase.maps`
GROUPED = ((1, 4), (2, 3), (0,))  # groups of `anatomy.TISSUES` that are grey, white, fluid
CUBE_MM = 2
REACH_MM = 5.0  # deviation of the blur whose slope pulls
PIAL_MM = 2.0  # deviation of the blur that tells the outer side of the cortex
VENTRICLES = ((91.0, 32.0), (111.0, 52.0), (84.0, 24.0))  # centre and radius along x, y, z, voxels


@dataclass(frozen=True)
class TissueBase:
    """One base anatomy.

    maps: (4, z, x, y) float16, shares of grey, white and fluid in cubes of 2 mm, and how much of
    the grey lies on the outer side of the cortex. pull: (3, z, x, y) vectors x, y, z that point
    into the ventricles from around them, at most 1 long, float16 in the same cubes.
    """

    maps: Tensor
    pull: Tensor


def tissue_base(anatomy: Anatomy) -> TissueBase:
    """Tissues of an anatomy that has shares; ValueError for one that has intensities."""
    shares = nnf.avg_pool3d(_three_tissues(anatomy), (2, 1, 1))  # (3, 91, 91, 109), 2 mm each way
    open_space = 1 - shares[GREY] - shares[WHITE]
    outer = (2 * blurred(open_space[None], PIAL_MM / CUBE_MM)[0]).clamp(0, 1)
    exposed = shares[GREY] * outer
    return TissueBase(torch.cat([shares, exposed[None]]).half(), _pull(shares[FLUID]))


def _three_tissues(anatomy: Anatomy) -> Tensor:
    if not anatomy.painted:
        raise ValueError("an anatomy of intensities has no tissues: make it from labels or shares")
    return torch.stack([anatomy.channels[list(groups)].sum(dim=0) for groups in GROUPED])


def _pull(fluid: Tensor) -> Tensor:
    """(3, z, x, y): slope of the blurred ventricles, scaled to at most 1."""
    ventricles = (fluid * _central(fluid.shape))[None]
    z, x, y = torch.gradient(blurred(ventricles, REACH_MM / CUBE_MM)[0])
    slope = torch.stack([x, y, z])
    pull: Tensor = slope / slope.norm(dim=0).max().clamp(min=1e-6)
    return pull.half()


def _central(shape: torch.Size) -> Tensor:
    """(z, x, y): 1 inside the ellipsoid that holds the lateral and third ventricles, else 0."""
    x, y, z = (
        ((CUBE_MM * (torch.arange(n) + 0.5) - 0.5 - centre) / radius) ** 2
        for n, (centre, radius) in zip((shape[1], shape[2], shape[0]), VENTRICLES, strict=True)
    )
    return (z[:, None, None] + x[None, :, None] + y[None, None, :] < 1).float()


def blurred(volumes: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of (C, z, x, y); `deviation` in cubes, edges repeated."""
    radius = int(3 * deviation + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / deviation) ** 2)
    taps = taps / taps.sum()
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(taps)
        margin = [0, 0, 0, 0, 0, 0]
        margin[4 - 2 * axis] = margin[5 - 2 * axis] = radius
        padded = nnf.pad(volumes[:, None], margin, mode="replicate")
        volumes = nnf.conv3d(padded, taps.reshape(shape))[:, 0]
    return volumes
