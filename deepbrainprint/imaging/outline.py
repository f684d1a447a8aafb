"""Masks as shapes: whole parts, overlap, the outline that a stripped scan came with."""

from __future__ import annotations

import cc3d
import fill_voids
import numpy as np

from deepbrainprint.imaging.volume import spacing, voxel_ml
from deepbrainprint.records import AffineArray, FloatArray, MaskArray

LEAST_EVEN = 0.3  # of the image's outer planes must hold one value for it to be the background
CUT_MM2 = 100.0  # of brain on the outermost plane: the field of view cuts it off
LARGEST_SHARE = 0.9  # of an image that is brain: more has no background


def largest(mask: MaskArray) -> MaskArray:
    """Return the largest connected part of `mask`; nothing of nothing."""
    parts = cc3d.connected_components(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    part: MaskArray = (parts == sizes.argmax()) & mask
    return part


def filled(mask: MaskArray) -> MaskArray:
    """Return `mask` with its holes closed."""
    whole: MaskArray = fill_voids.fill(mask)
    return whole


def dice(first: MaskArray, second: MaskArray) -> float:
    """Return the overlap of two masks, 0…1."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * float((first & second).sum()) / total if total else 0.0


def millilitres(mask: MaskArray, affine: AffineArray) -> float:
    """Return the volume of `mask`."""
    return float(mask.sum() * voxel_ml(affine))


def planes_at_cuts(mask: MaskArray, affine: AffineArray, mm: float) -> list[tuple[int, int]]:
    """Return, before and after along each axis, the planes of `mm` where the edge cuts the brain.

    None where the outermost plane holds no brain, or so little that the brain may end there.
    """
    size = spacing(affine)
    ends = []
    for axis in range(3):
        planes = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        pixel, count = float(np.prod(np.delete(size, axis))), int(np.ceil(mm / size[axis]))
        before, after = (count * int(planes[end] * pixel > CUT_MM2) for end in (0, -1))
        ends.append((before, after))
    return ends


def supplied(data: FloatArray) -> MaskArray | None:
    """Return the largest part of what is not background, where the background is one value.

    Such an image was masked by someone, or its background was cut off; None where it was not.
    """
    planes = [np.take(data, end, axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(planes), return_counts=True)
    if counts.max() < LEAST_EVEN * counts.sum():
        return None
    mask = filled(largest(data != values[counts.argmax()]))
    return mask if 0 < mask.mean() < LARGEST_SHARE else None
