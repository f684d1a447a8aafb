"""The worst cases as pictures, without a face and without a name."""

from __future__ import annotations

from pathlib import Path

from deepbrainprint.bench.imaging.masks import Worst
from deepbrainprint.imaging import drawing
from deepbrainprint.imaging import pictures as drawn
from deepbrainprint.records import ByteArray


def draw_mask(worst: Worst, out: Path | None) -> None:
    """Write `worst-mask.png`: the scan whose mask fits least, with that mask."""
    if out is not None and worst.scan is not None:
        drawing.save(drawn.native(worst.scan, worst.mask), out / "worst-mask.png")


def draw_repeat(worst: tuple[ByteArray, ByteArray] | None, out: Path | None) -> None:
    """Write `worst-repeat.png`: the two scans of one person that agree least."""
    if out is not None and worst is not None:
        out.mkdir(parents=True, exist_ok=True)
        drawn.compare_picture(*worst, out / "worst-repeat.png")
