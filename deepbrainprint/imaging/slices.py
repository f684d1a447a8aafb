"""Planes for the encoder, and pictures of an aligned brain for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from deepbrainprint.imaging import template
from deepbrainprint.records import ByteArray

# z = 18 mm: frontal horns, bodies and atria of the lateral ventricles in one plane, as in the
# figures of the DeepBrainPrint paper, and the middle of the grid.
VENTRICLE_Z = 90
AXIAL, CORONAL, SAGITTAL = (54, 72, 90, 108), (70, 100, 128, 156), (61, 91, 121)
INK = 220


def axial(brain: ByteArray, z_indices: Sequence[int]) -> ByteArray:
    """Return the planes `z_indices` of a brain (182, 218, 182) as (n, 182, 218): x, y in RAS."""
    if brain.shape != template.SHAPE:
        raise ValueError(f"a brain on the grid is {template.SHAPE} voxels, not {brain.shape}")
    return np.ascontiguousarray(np.moveaxis(brain[:, :, list(z_indices)], 2, 0))


def mosaic(brain: ByteArray, path: Path) -> None:
    """Write a PNG of axial, coronal and sagittal planes, as radiologists look at them.

    The patient's right is at the left of axial and coronal planes, the front at the left of
    sagittal ones.
    """
    rows = (
        [_axial(brain, z) for z in AXIAL],
        [_coronal(brain, y) for y in CORONAL],
        [_sagittal(brain, x) for x in SAGITTAL],
    )
    _save(_stacked([_beside(row) for row in rows]), path)


def ventricle_picture(brain: ByteArray, path: Path) -> None:
    """Write a PNG of the axial plane through the lateral ventricles."""
    _save(_axial(brain, VENTRICLE_Z), path)


def compare_picture(first: ByteArray, second: ByteArray, path: Path) -> None:
    """Write a PNG of two aligned brains, one above the other, in the same planes."""
    rows = [
        [_axial(brain, VENTRICLE_Z), _coronal(brain, CORONAL[1]), _sagittal(brain, SAGITTAL[1])]
        for brain in (first, second)
    ]
    _save(_stacked([_beside(row) for row in rows]), path)


def _axial(brain: ByteArray, z: int) -> Image.Image:
    return _lettered(brain[::-1, :, z], top="A", bottom="P", left="R", right="L")


def _coronal(brain: ByteArray, y: int) -> Image.Image:
    return _lettered(brain[::-1, y, :], top="S", bottom="I", left="R", right="L")


def _sagittal(brain: ByteArray, x: int) -> Image.Image:
    return _lettered(brain[x, ::-1, :], top="S", bottom="I", left="A", right="P")


def _lettered(plane: ByteArray, *, top: str, bottom: str, left: str, right: str) -> Image.Image:
    """Draw a plane (across, up) with the letter of each direction at its edge."""
    image = Image.fromarray(np.ascontiguousarray(plane.T[::-1]))  # image rows run down
    draw = ImageDraw.Draw(image)
    across, down = image.width // 2, image.height // 2
    draw.text((across, 2), top, fill=INK, anchor="mt")
    draw.text((across, image.height - 2), bottom, fill=INK, anchor="mb")
    draw.text((2, down), left, fill=INK, anchor="lm")
    draw.text((image.width - 2, down), right, fill=INK, anchor="rm")
    return image


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    row = Image.new("L", (sum(i.width for i in images), max(i.height for i in images)))
    across = 0
    for image in images:
        row.paste(image, (across, 0))
        across += image.width
    return row


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("L", (max(r.width for r in rows), sum(r.height for r in rows)))
    down = 0
    for row in rows:
        sheet.paste(row, (0, down))
        down += row.height
    return sheet


def _save(image: Image.Image, path: Path) -> None:
    """Write a whole PNG or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    image.save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
