"""Where the voxels of generated volumes lie, and the deformations that make people of anatomies.

Volumes are (Z, X, Y) on a lattice of cubes of the 1 mm grid; positions are 1 mm voxel indices in
the order x, y, z. All chance comes from a generator on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.recipe import GRID_MM
from deepbrainprint.encoder.splines import SplineGrid

WINDOW_MM = ((0, 168), (6, 174), (12, 204))  # z, x, y: what brains on the grid fill
CENTRE = torch.tensor([(n - 1) / 2 for n in GRID_MM])  # of rotation and scaling
LINEAR = (2 / 3) ** 1.5  # what trilinear interpolation leaves of independent control points
MIRRORED = 0.5


@dataclass(frozen=True)
class Lattice:
    """Cubes of `step_mm` as whole brains are reduced to, those that brains fill."""

    step_mm: int = 3

    @property
    def window(self) -> tuple[tuple[int, int], ...]:
        """First and last + 1 cube along z, x and y."""
        return tuple(
            (start // self.step_mm, math.ceil(stop / self.step_mm)) for start, stop in WINDOW_MM
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cubes along z, x and y."""
        z, x, y = (stop - start for start, stop in self.window)
        return z, x, y

    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the centres lie along z, x and y, as 1 mm voxel indices."""
        z, x, y = (
            (torch.arange(start, stop) + 0.5) * self.step_mm - 0.5 for start, stop in self.window
        )
        return z, x, y

    def positions(self) -> Tensor:
        """(Z, X, Y, 3): x, y, z of every centre."""
        z, x, y = torch.meshgrid(*self.axes(), indexing="ij")
        return torch.stack([x, y, z], dim=-1)

    def unit(self, places: Tensor) -> Tensor:
        """Places (…, 3), x, y, z, with the lattice from −1 to 1."""
        ends = torch.tensor([self.window[axis] for axis in (1, 2, 0)], device=places.device)
        start, stop = (ends * self.step_mm - 0.5).unbind(dim=1)
        return 2 * (places - start) / (stop - start) - 1


@dataclass(frozen=True)
class Deforming:
    """How far a person may be from the anatomy that it was made of (Brain-ID's ranges)."""

    degrees: float = 15.0
    shear: float = 0.2
    scale: float = 0.2
    displacement_mm: float = 4.0  # largest deviation of the control points' displacements
    control_mm: tuple[float, float] = (1 / 0.06, 1 / 0.03)  # 0.03…0.06 control points per mm


ALIGNED = Deforming(degrees=2.0, shear=0.01, scale=0.03)  # people after affine alignment


@dataclass(frozen=True)
class Deformation:
    """Where in the base anatomy each voxel of a person lies: A·(p + F(p) − c) + c.

    linear: A (3, 3), x, y, z; displacement: F (Z, X, Y, 3) in mm.
    """

    linear: Tensor
    displacement: Tensor

    def places(self, lattice: Lattice, pose: Tensor | None = None) -> Tensor:
        """(Z, X, Y, 3); a pose (3, 4) moves the person about the centre first."""
        place = lattice.positions() - CENTRE
        if pose is not None:
            place = place @ pose[:, :3].T + pose[:, 3]
        moved: Tensor = (place + self.displacement) @ self.linear.T + CENTRE
        return moved

    def inverse(self, lattice: Lattice, rounds: int = 12) -> Tensor:
        """(Z, X, Y, 3): where in the person each voxel of the base anatomy lies.

        By fixed-point iteration: the displacement is so smooth that it is a contraction.
        """
        goal: Tensor = (lattice.positions() - CENTRE) @ torch.linalg.inv(self.linear).T + CENTRE
        field, place = self.displacement.permute(3, 0, 1, 2), goal
        for _ in range(rounds):
            place = goal - on_lattice(field, place, lattice).movedim(0, -1)
        return place


def draw_deformation(
    lattice: Lattice, generator: torch.Generator, deforming: Deforming
) -> Deformation:
    """Rotation, shear, scaling and smooth displacement; mirrored from left to right or not."""
    angles, shear, scale = torch.rand(3, 3, generator=generator) * 2 - 1
    linear = _rotation(angles * math.radians(deforming.degrees))
    for axis in (2, 1, 0):
        slant = torch.eye(3)
        slant[:, axis] += deforming.shear * shear * (1 - slant[:, axis])
        linear = slant @ linear
    linear = (1 + deforming.scale * scale)[:, None] * linear
    if chance(MIRRORED, generator):
        linear = torch.diag(torch.tensor([-1.0, 1.0, 1.0])) @ linear
    spread = uniform((0.0, deforming.displacement_mm), generator)
    grid = drawn_grid(lattice, deforming.control_mm, generator)
    return Deformation(linear, LINEAR * spread * grid.evaluate(grid.noise(1, 3, generator))[0])


def _rotation(vector: Tensor) -> Tensor:
    """(3, 3) of a rotation vector in radians."""
    skew = torch.zeros(3, 3)
    skew[[2, 0, 1], [1, 2, 0]] = vector
    rotation: Tensor = torch.linalg.matrix_exp(skew - skew.T)
    return rotation


def on_grid(channels: Tensor, places: Tensor) -> Tensor:
    """Trilinear: channels (C, z, x, y) over the whole grid at places (Z, X, Y, 3); 0 outside it."""
    size = torch.tensor(GRID_MM, dtype=torch.float32, device=places.device)
    return _sampled(channels, (2 * places + 1) / size - 1, "zeros")


def on_lattice(channels: Tensor, places: Tensor, lattice: Lattice) -> Tensor:
    """Trilinear: channels (C, Z, X, Y) on the lattice at places (Z, X, Y, 3); its edges go on."""
    return _sampled(channels, lattice.unit(places), "border")


def _sampled(channels: Tensor, unit: Tensor, padding: str) -> Tensor:
    grid = unit[None][..., [1, 0, 2]]  # grid_sample wants the last axis (y) first, then x, then z
    return nnf.grid_sample(channels[None], grid, padding_mode=padding, align_corners=False)[0]


def drawn_grid(
    lattice: Lattice, spacing_mm: tuple[float, float], generator: torch.Generator
) -> SplineGrid:
    """A control grid over the lattice, of a drawn spacing."""
    return SplineGrid(lattice.axes(), spacing=round(uniform(spacing_mm, generator)))


def uniform(ends: tuple[float, float], generator: torch.Generator) -> float:
    """One number between the ends."""
    return ends[0] + (ends[1] - ends[0]) * float(torch.rand((), generator=generator))


def chance(share: float, generator: torch.Generator) -> bool:
    """True in that share of draws."""
    return float(torch.rand((), generator=generator)) < share
