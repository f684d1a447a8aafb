"""Smooth fields: uniform cubic B-splines over a control grid, evaluated by separable matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepbrainprint.encoder.recipe import GRID_MM

LENGTHS = (GRID_MM[2], GRID_MM[0], GRID_MM[1])  # z, x, y


def spline_matrix(points: Tensor, *, spacing: float, length: float) -> Tensor:
    """(N, K) weights of the K control points at −1, 0, 1 … times `spacing` that cover `length`."""
    place = points.clamp(0, length) / spacing
    cell = place.floor().long()
    t = place - cell
    weights = torch.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1
    )
    matrix = torch.zeros(len(points), math.floor(length / spacing) + 4)
    return matrix.scatter_(1, cell[:, None] + torch.arange(4), weights / 6)


class SplineGrid:
    """A control grid (K, I, J) over z, x, y and the points (P, X, Y) where it is evaluated."""

    def __init__(self, axes: tuple[Tensor, Tensor, Tensor], *, spacing: int) -> None:
        self.spacing = spacing
        self._z, self._x, self._y = (
            spline_matrix(points, spacing=spacing, length=length)
            for points, length in zip(axes, LENGTHS, strict=True)
        )
        matrices = (self._z, self._x, self._y)
        self.shape = tuple(m.shape[1] for m in matrices)
        self._gain: float = math.prod(float((m**2).sum(dim=1).mean()) for m in matrices) ** -0.5
        z, x, y = torch.meshgrid(
            *((torch.arange(n) - 1.0) * spacing for n in self.shape), indexing="ij"
        )
        self.positions = torch.stack([x, y, z], dim=-1)  # (K, I, J, 3) voxel index

    def noise(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        """Control values (count, K, I, J, channels) of a field of unit deviation."""
        drawn = torch.randn(count, *self.shape, channels, generator=generator)
        return drawn.mul(self._gain)

    def evaluate(self, control: Tensor) -> Tensor:
        """(B, K, I, J, C) → (B, P, X, Y, C)."""
        batch, channels = control.shape[0], control.shape[-1]
        field = torch.tensordot(control, self._z, dims=([1], [1]))  # (B, I, J, C, P)
        field = field.permute(0, 4, 1, 2, 3).flatten(3)  # (B, P, I, J·C)
        field = self._x @ field  # (B, P, X, J·C)
        along = torch.kron(self._y.T.contiguous(), torch.eye(channels))  # (J·C, Y·C)
        placed: Tensor = field @ along  # (B, P, X, Y·C)
        return placed.reshape(batch, len(self._z), len(self._x), -1, channels)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Random fields of unit deviation (count, P, X, Y)."""
        return self.evaluate(self.noise(count, 1, generator))[..., 0]


def refinement(coarse: SplineGrid, fine: SplineGrid) -> list[Tensor]:
    """Matrices that turn control values into those of the same field at half the spacing.

    The two-scale relation of the cubic B-spline, axis by axis: (1, 4, 6, 4, 1) / 8.
    """
    matrices = []
    for columns, rows in zip(coarse.shape, fine.shape, strict=True):
        # coarse point j lies where fine point 2j − 1 lies
        lag = torch.arange(rows)[:, None] - (2 * torch.arange(columns) - 1)[None, :]
        weights = torch.tensor([1, 4, 6, 4, 1, 0]) / 8
        matrices.append(weights[torch.where(lag.abs() <= 2, lag + 2, 5)])
    return matrices


def refine(control: Tensor, matrices: list[Tensor]) -> Tensor:
    """(B, K, I, J, C) on the coarse grid → the same field on the fine grid."""
    return torch.einsum("bkijc,pk,qi,rj->bpqrc", control, *matrices)
