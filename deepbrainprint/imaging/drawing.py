"""Views on paper: letters, a line around the mask, a scale bar, one beside and below another."""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deepbrainprint.imaging.views import View
from deepbrainprint.records import MaskArray

Colour = tuple[int, int, int]

MARGIN = 18  # pixels around a view, for its letters
BAR_MM = 50
BAR_PIXELS = 3  # its thickness
CONVENTION = "Radiological convention: patient's right at the left"
PAPER: Colour = (0, 0, 0)
INK: Colour = (225, 225, 225)
# told apart by colour-blind people (Okabe and Ito 2008)
AMBER: Colour = (255, 176, 0)
SKY: Colour = (86, 180, 233)


def panel(view: View, per_mm: float, colour: Colour = AMBER) -> Image.Image:
    """Draw `view` with `per_mm` pixels for each millimetre, a letter at each edge."""
    rows, columns = view.pixels.shape
    size = (round(columns * view.mm[1] * per_mm), round(rows * view.mm[0] * per_mm))
    scan = Image.fromarray(view.pixels).resize(size, Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (size[0] + 2 * MARGIN, size[1] + 2 * MARGIN), PAPER)
    sheet.paste(scan, (MARGIN, MARGIN))
    if view.outlined is not None:
        line = Image.fromarray(edge(_enlarged(view.outlined, size)))
        sheet.paste(colour, (MARGIN, MARGIN), line)
    _letter(sheet, view)
    return sheet


def edge(mask: MaskArray) -> MaskArray:
    """Return the pixels of `mask` that have a neighbour outside it, above, below or beside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    found: MaskArray = mask & ~inner
    return found


def signed(picture: Image.Image, per_mm: float) -> Image.Image:
    """Return `picture` with a scale bar and the convention below it."""
    length = round(BAR_MM * per_mm)
    words = font(13)
    foot = Image.new("RGB", (picture.width, 40), PAPER)
    draw = ImageDraw.Draw(foot)
    draw.rectangle((MARGIN, 8, MARGIN + length - 1, 8 + BAR_PIXELS - 1), fill=INK)
    draw.text((MARGIN + length + 6, 9), f"{BAR_MM} mm", fill=INK, font=words, anchor="lm")
    draw.text((MARGIN, 28), CONVENTION, fill=INK, font=words, anchor="lm")
    return stacked([picture, foot])


def beside(images: Sequence[Image.Image]) -> Image.Image:
    """Put `images` in one row, centred."""
    height = max(image.height for image in images)
    row = Image.new("RGB", (sum(image.width for image in images), height), PAPER)
    across = 0
    for image in images:
        row.paste(image, (across, (height - image.height) // 2))
        across += image.width
    return row


def stacked(images: Sequence[Image.Image], paper: Colour = PAPER) -> Image.Image:
    """Put `images` below one another."""
    size = max(image.width for image in images), sum(image.height for image in images)
    sheet = Image.new("RGB", size, paper)
    down = 0
    for image in images:
        sheet.paste(image, (0, down))
        down += image.height
    return sheet


def png(image: Image.Image) -> bytes:
    """Return `image` as a PNG that holds pixels and no text."""
    written = io.BytesIO()
    image.save(written, format="PNG", compress_level=6)
    return written.getvalue()


def save(image: Image.Image, path: Path) -> None:
    """Write a whole PNG or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(png(image))
    temporary.replace(path)


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib and has signs such as × and ≤."""
    spec = importlib.util.find_spec("matplotlib")  # not imported: that takes long
    home = Path(spec.origin).parent if spec and spec.origin else Path()
    path = home / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size) if path.is_file() else ImageFont.load_default(size)


def _letter(sheet: Image.Image, view: View) -> None:
    draw, words = ImageDraw.Draw(sheet), font(13)
    across, down, near = sheet.width // 2, sheet.height // 2, MARGIN // 2
    for place, letter in (
        ((across, near), view.top),
        ((across, sheet.height - near), view.bottom),
        ((near, down), view.left),
        ((sheet.width - near, down), view.right),
    ):
        draw.text(place, letter, fill=INK, font=words, anchor="mm")


def _enlarged(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    enlarged = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return np.asarray(enlarged, dtype=bool)
