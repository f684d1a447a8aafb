"""Planes of a volume as people look at them, in radiological convention.

The patient's right is at the left of axial and coronal views, the front at the left of sagittal
ones; axial views are seen from the feet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import AffineArray, ByteArray, MaskArray, Volume

Kind = TypeVar("Kind", bound=np.generic)

ENDS = (("L", "R"), ("P", "A"), ("I", "S"))  # where each axis of RAS comes from and runs to
DARKEST, BRIGHTEST = 1.0, 99.5  # percentiles shown as black and white
NEAR_MM = 20.0  # skull and scalp are nearer to the brain than this, nose and mouth are not
BRIGHTER = 1.15  # scalp is brighter than brain: room for some of it above the brain's brightest


class Direction(IntEnum):
    """The axis of RAS that a view looks along."""

    SAGITTAL = 0
    CORONAL = 1
    AXIAL = 2


@dataclass(frozen=True)
class View:
    """One plane: rows run down, columns to the right."""

    pixels: ByteArray  # (rows, columns)
    outlined: MaskArray | None  # (rows, columns): what to draw a line around
    mm: tuple[float, float]  # height and width of a pixel
    top: str
    bottom: str
    left: str
    right: str

    def without_face(self) -> View:
        """Black out what lies further than 20 mm from what is outlined."""
        if self.outlined is None:
            return self
        distance = ndimage.distance_transform_edt(~self.outlined, sampling=self.mm)
        return replace(self, pixels=np.where(distance <= NEAR_MM, self.pixels, 0).astype(np.uint8))


@dataclass(frozen=True)
class Upright:
    """A scan in grey levels for the eye, its axes the ones closest to RAS."""

    data: ByteArray  # (x, y, z)
    mask: MaskArray | None  # (x, y, z)
    mm: tuple[float, float, float]

    def view(self, direction: Direction, index: int) -> View:
        """Cut the plane number `index` along `direction`."""
        across, up = (axis for axis in range(3) if axis != direction)
        mask = self.mask
        return View(
            pixels=_turned(np.take(self.data, index, axis=direction)),
            outlined=None if mask is None else _turned(np.take(mask, index, axis=direction)),
            mm=(self.mm[up], self.mm[across]),
            top=ENDS[up][1],
            bottom=ENDS[up][0],
            left=ENDS[across][1],
            right=ENDS[across][0],
        )

    def at(self, direction: Direction, share: float) -> View:
        """Cut the plane at `share` (0…1) of the mask's extent along `direction`, or the scan's."""
        first, last = _extent(self.mask, direction, self.data.shape[direction])
        return self.view(direction, round(first + share * (last - first)))

    def around(self, mask: MaskArray) -> Upright:
        """The same, outlined by another mask (x, y, z)."""
        return replace(self, mask=mask)


def upright(volume: Volume, mask: MaskArray | None = None) -> Upright:
    """Turn a scan, in whatever order its voxels are stored, to the axes closest to RAS."""
    turn = nib.io_orientation(volume.affine)
    data = nib.apply_orientation(volume.data, turn)
    inside = None if mask is None else nib.apply_orientation(mask, turn).astype(bool)
    edges = spacing(volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.data.shape))
    return Upright(_grey(data, inside), inside, (edges[0], edges[1], edges[2]))


def tilt(affine: AffineArray) -> float:
    """Return by how many degrees the axis that is furthest off lies off the patient's axes."""
    cosines = np.abs(affine[:3, :3] / spacing(affine)).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())


def _turned(plane: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Turn (across, up) to rows that run down and columns that run to the right."""
    return np.ascontiguousarray(plane[::-1, ::-1].T)


def _extent(mask: MaskArray | None, direction: Direction, size: int) -> tuple[int, int]:
    if mask is None or not mask.any():
        return 0, size - 1
    others = tuple(axis for axis in range(3) if axis != direction)
    filled = np.flatnonzero(mask.any(axis=others))
    return int(filled[0]), int(filled[-1])


def _grey(data: AffineArray, inside: MaskArray | None) -> ByteArray:
    some = data[::2, ::2, ::2]  # enough for a percentile
    brain = None if inside is None else some[inside[::2, ::2, ::2]]
    seen = brain if brain is not None and brain.size else some[some != 0]
    low = float(np.percentile(some, DARKEST))
    high = BRIGHTER * float(np.percentile(seen, BRIGHTEST)) if seen.size else low
    scaled = (data - low) * (255 / max(high - low, 1e-6))
    return np.clip(scaled, 0, 255).astype(np.uint8)
