"""How a scan was acquired: the size of its voxels, and what that does to a volume.

The mixture of resolutions is Brain-ID's (Liu et al. 2023, arXiv 2311.16914, released
configuration). Volumes are (Z, X, Y) on a lattice; sizes are in mm along x, y and z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepbrainprint.encoder.lattice import Lattice, uniform

SOFTNESS = (0.85, 1.15)  # of a slice profile


@dataclass(frozen=True)
class Voxel:
    """Spacing and slice thickness along x, y and z, in mm."""

    spacing: tuple[float, float, float]
    thickness: tuple[float, float, float]


def draw_voxel(generator: torch.Generator) -> Voxel:
    """A quarter each: 1 mm; thick along one axis; a low field's axial stack; a scout's."""
    kind, axis = (
        torch.randint(4, (), generator=generator),
        torch.randint(3, (), generator=generator),
    )
    draws = torch.rand(3, generator=generator)
    spacing = thickness = torch.ones(3)
    if kind == 1:
        along = torch.arange(3) == axis
        spacing = torch.where(along, 2.5 + 6 * draws[0], 1.0)
        thickness = torch.minimum(spacing, torch.where(along, 4 + 2 * draws[1], 1.0))
    elif kind == 2:
        spacing = thickness = torch.tensor([1.3, 1.3, 5.0]) + 0.4 * draws
    elif kind == 3:
        spacing = thickness = 2 + 3 * draws
    return Voxel(_triple(spacing), _triple(thickness))


def photograph(spacing_mm: float) -> Voxel:
    """A stack of coronal photographs: no thickness along y."""
    return Voxel((1.0, spacing_mm, 1.0), (1.0, 0.0, 1.0))


def acquire(
    values: Tensor, voxel: Voxel, lattice: Lattice, *, noise: float, generator: torch.Generator
) -> Tensor:
    """The volume (Z, X, Y) as scanned with such voxels and brought back to the lattice.

    Blur, sampling and the way back are linear and separable: one matrix for each axis. Slices no
    thicker than the lattice's cubes are not blurred again. Noise has the deviation `noise` in an
    acquired voxel; of those smaller than the lattice's, a cube averages several. A stripped scan
    has none outside the head.
    """
    softness = uniform(SOFTNESS, generator)
    there, back = [], []
    for axis, count in zip((2, 0, 1), values.shape, strict=True):  # z, x, y
        thickness = voxel.thickness[axis] * (voxel.thickness[axis] > lattice.step_mm)
        matrices = slicing(count, voxel.spacing[axis], softness * thickness, lattice.step_mm)
        there.append(matrices[0].to(values.device))
        back.append(matrices[1].to(values.device))
    scanned = _along(values, there)
    averaged = math.prod(min(1.0, spacing / lattice.step_mm) for spacing in voxel.spacing)
    drawn = torch.randn(scanned.shape, generator=generator).to(values.device)
    scanned = scanned + noise * averaged**0.5 * drawn * (scanned > 1)
    return _along(scanned.clamp(min=0), back)


def slicing(count: int, spacing: float, thickness: float, step_mm: float) -> tuple[Tensor, Tensor]:
    """Matrices (M, count) to M slices `spacing` mm apart, and (count, M) back to the lattice.

    The slice profile is a Gaussian of deviation ln 5 / π · thickness, as in SynthSeg (Billot et al.
    2023, arXiv 2107.09559); thickness 0 leaves it out.
    """
    lines = torch.arange(float(count))
    blur = torch.eye(count)
    if thickness > 0:
        deviation = math.log(5) / math.pi * thickness / step_mm
        blur = torch.exp(-(((lines[:, None] - lines) / deviation) ** 2) / 2)
        blur = blur / blur.sum(dim=1, keepdim=True)
    if spacing <= step_mm:
        return blur, torch.eye(count)
    slices = max(1, int(count * step_mm / spacing))
    centres = (torch.arange(float(slices)) + 0.5) * count / slices - 0.5
    return _hats(centres, count) @ blur, _hats((lines + 0.5) * slices / count - 0.5, slices)


def _hats(places: Tensor, count: int) -> Tensor:
    """(N, count) weights of linear interpolation at `places`."""
    distance = places.clamp(0, count - 1)[:, None] - torch.arange(float(count))
    return (1 - distance.abs()).clamp(min=0)


def _along(volume: Tensor, matrices: list[Tensor]) -> Tensor:
    """(Z, X, Y) through one matrix for each axis."""
    z, x, y = matrices
    placed: Tensor = torch.tensordot(z, x @ volume @ y.T, dims=1)
    return placed


def _triple(values: Tensor) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
