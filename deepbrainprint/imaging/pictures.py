"""Pictures for people: aligned brains in fixed planes, and scans as they came.

All are radiological, with orientation letters and a scale bar; none holds any text of a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deepbrainprint.imaging import template
from deepbrainprint.imaging.drawing import AMBER, SKY, Colour, beside, panel, save, signed, stacked
from deepbrainprint.imaging.slices import VENTRICLE_Z
from deepbrainprint.imaging.views import Direction, Upright, View, upright
from deepbrainprint.records import ByteArray, MaskArray, Volume

AXIAL, CORONAL, SAGITTAL = (54, 72, 90, 108), (70, 100, 128, 156), (61, 91, 121)
PER_MM = 2.0  # pixels: letters and sulci are seen without zooming
SHARES = (0.25, 0.5, 0.75)  # of the brain's extent
MOST_MM = 300.0  # a view that is larger is drawn smaller


def mosaic(brain: ByteArray, path: Path) -> None:
    """Write a PNG of axial, coronal and sagittal planes of a brain (182, 218, 182)."""
    _save(_rows(_aligned(brain), (AXIAL, CORONAL, SAGITTAL)), path)


def ventricle_picture(brain: ByteArray, path: Path) -> None:
    """Write a PNG of the axial plane through the lateral ventricles."""
    _save([[_aligned(brain).view(Direction.AXIAL, VENTRICLE_Z)]], path)


def compare_picture(first: ByteArray, second: ByteArray, path: Path) -> None:
    """Write a PNG of two aligned brains, one above the other, in the same planes."""
    _save([_middle(_aligned(brain)) for brain in (first, second)], path)


def aligned(brain: ByteArray, *, per_mm: float = PER_MM, few: bool = False) -> Image.Image:
    """Draw an aligned brain (182, 218, 182) with the template's outline over it.

    `few` draws one plane of each direction, for a narrow place.
    """
    outlined = _aligned(brain).around(template.mask())
    rows = [_middle(outlined)] if few else _rows(outlined, (AXIAL[1:], CORONAL[1:], SAGITTAL))
    return _drawn(rows, per_mm, SKY)


def native(
    scan: Volume, mask: MaskArray | None, *, per_mm: float = PER_MM, few: bool = False
) -> Image.Image:
    """Draw a scan in its own voxels, at its true proportions, with its brain mask outlined.

    No face is shown: what lies far from the brain is black, and without a mask there are no
    sagittal views. `few` draws the middle plane of each direction, for a narrow place.
    """
    turned = upright(scan, mask)
    shares = (0.5,) if few else SHARES
    ways = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)[: 2 if mask is None else 3]
    rows = [[turned.at(way, share).without_face() for share in shares] for way in ways]
    rows = [[view for row in rows for view in row]] if few else rows
    return _drawn(rows, per_mm * min(1.0, MOST_MM / _largest(rows)), AMBER)


def _aligned(brain: ByteArray) -> Upright:
    return Upright(brain, None, (1.0, 1.0, 1.0))


def _rows(brain: Upright, planes: Sequence[Sequence[int]]) -> list[list[View]]:
    """Views of axial, coronal and sagittal `planes`, a row each."""
    return [
        [brain.view(direction, index) for index in indices]
        for direction, indices in zip(reversed(Direction), planes, strict=True)
    ]


def _middle(brain: Upright) -> list[View]:
    middle = ((VENTRICLE_Z,), (CORONAL[1],), (SAGITTAL[1],))
    return [view for row in _rows(brain, middle) for view in row]


def _largest(rows: Sequence[Sequence[View]]) -> float:
    """Return the longest edge of all views in mm."""
    views = [view for row in rows for view in row]
    return max(float(max(np.multiply(view.pixels.shape, view.mm))) for view in views)


def _drawn(rows: Sequence[Sequence[View]], per_mm: float, colour: Colour) -> Image.Image:
    drawn = [beside([panel(view, per_mm, colour) for view in row]) for row in rows]
    return signed(stacked(drawn), per_mm)


def _save(rows: Sequence[Sequence[View]], path: Path) -> None:
    save(_drawn(rows, PER_MM, AMBER).convert("L"), path)
