"""What the technologist sets: contrast, orientation and voxel size, and the grid that follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import AffineArray, Contrast, FloatArray
from deepbrainprint.simulation.deformation import rotation

Triple = tuple[float, float, float]

FIELD_OF_VIEW_MM: Triple = (200.0, 236.0, 184.0)  # right-left, front-back, top-bottom
COARSEST_SAMPLE_MM = 2.0  # a longer voxel edge averages several samples
THINNEST_MM, THICKEST_MM = 0.5, 12.0


class Orientation(StrEnum):
    """The plane of the slices."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"

    @property
    def axes(self) -> str:
        """Where column, row and slice index grow, as letters of the patient (L is left)."""
        match self:
            case Orientation.AXIAL:
                return "LPS"
            case Orientation.SAGITTAL:
                return "PIR"
            case Orientation.CORONAL:
                return "LIP"
            case _:
                assert_never(self)


@dataclass(frozen=True)
class Protocol:
    """One sequence. `voxel_mm` runs along a row, along a column and from slice to slice."""

    contrast: Contrast = Contrast.T1W
    orientation: Orientation = Orientation.AXIAL
    voxel_mm: Triple = (1.0, 1.0, 1.0)
    oblique_deg: Triple = (0.0, 0.0, 0.0)  # about the right, front and top axis


@dataclass(frozen=True)
class Grid:
    """Voxels in acquisition order (column, row, slice); affine (4, 4) to RAS mm."""

    shape: tuple[int, int, int]
    affine: AffineArray
    samples: tuple[int, int, int] = (1, 1, 1)  # averaged per voxel along each axis

    def finer(self) -> Grid:
        """The grid of samples that the voxels average."""
        counts = np.array(self.samples)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] / counts
        affine[:3, 3] -= affine[:3, :3] @ ((counts - 1) / 2)
        columns, rows, slices = (int(n) for n in np.array(self.shape) * counts)
        return Grid((columns, rows, slices), affine)

    def part(self, kept: tuple[slice, slice, slice]) -> Grid:
        """The voxels within these ranges, where they are."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [axis.start for axis in kept]
        columns, rows, slices = (axis.stop - axis.start for axis in kept)
        return Grid((columns, rows, slices), affine, self.samples)

    def averaged(self, samples: FloatArray) -> FloatArray:
        """Samples of the finer grid to voxels."""
        if self.samples == (1, 1, 1):
            return samples
        (columns, rows, slices), (a, b, c) = self.shape, self.samples
        blocks = samples.reshape(columns, a, rows, b, slices, c)  # each voxel's samples apart
        return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)

    def points(self, step_mm: float | None = None) -> FloatArray:
        """RAS mm (3, a, b, c) of every voxel, or of points up to `step_mm` apart."""
        edges = np.linalg.norm(self.affine[:3, :3], axis=0)
        steps = edges if step_mm is None else np.full(3, step_mm)
        counts = np.ceil(np.array(self.shape) * edges / steps - 1e-6).astype(int)
        ticks = [
            np.linspace(0, size - 1, max(2, count))
            for size, count in zip(self.shape, counts, strict=True)
        ]
        index = np.stack(np.meshgrid(*ticks, indexing="ij"))
        origin = self.affine[:3, 3].reshape(3, 1, 1, 1)
        return np.asarray(np.tensordot(self.affine[:3, :3], index, 1) + origin, dtype=np.float32)


def grid(protocol: Protocol, *, centre_mm: Triple) -> Grid:
    """The voxels that cover a head around `centre_mm`; BadStudy for a size no scanner offers."""
    if not all(THINNEST_MM <= edge <= THICKEST_MM for edge in protocol.voxel_mm):
        raise BadStudy(
            f"a voxel edge must be {THINNEST_MM} to {THICKEST_MM} mm long",
            code="voxel_size_out_of_range",
        )
    directions = directions_of(protocol.orientation.axes)
    extent = np.abs(np.array(FIELD_OF_VIEW_MM) @ directions)
    edges = np.array(protocol.voxel_mm)
    shape = np.ceil(extent / edges).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation(protocol.oblique_deg) @ directions * edges
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ ((shape - 1) / 2)
    samples = [int(np.ceil(edge / COARSEST_SAMPLE_MM)) for edge in edges]
    return Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        affine,
        (samples[0], samples[1], samples[2]),
    )


def directions_of(axes: str) -> AffineArray:
    """Columns (3, 3) of RAS unit vectors for letters such as LPS."""
    positive = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    directions = np.zeros((3, 3))
    for column, letter in enumerate(axes):
        axis, sign = positive[letter]
        directions[axis, column] = sign
    return directions
