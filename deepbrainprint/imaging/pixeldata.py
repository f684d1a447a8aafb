"""Whether a DICOM file holds all the pixels that its header promises, without decoding them."""

from __future__ import annotations

import os
import struct
from enum import StrEnum
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import UID

PIXEL_TAGS = frozenset({(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)})
UNDEFINED = 0xFFFFFFFF
ITEM, END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


class PixelState(StrEnum):
    """How much of the promised pixels is there."""

    WHOLE = "whole"
    ABSENT = "absent"
    TRUNCATED = "truncated"


def pixel_state(file: BinaryIO, dataset: Dataset, *, bits: int) -> PixelState:
    """State of the pixel data element at which `file` stands; `bits` are promised uncompressed.

    PS3.5 section 7.1 gives the element's layout, section A.4 that of encapsulated pixels.
    """
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if syntax.is_transfer_syntax and syntax.is_deflated:
        return PixelState.WHOLE  # unpacked as a whole or not at all
    order = "<" if dataset.original_encoding[1] in {True, None} else ">"
    length = _element_length(file, order, implicit=bool(dataset.original_encoding[0]))
    if length is None:
        return PixelState.ABSENT
    if length == UNDEFINED:
        return PixelState.WHOLE if _ends(file) else PixelState.TRUNCATED
    promised = (
        length if syntax.is_transfer_syntax and syntax.is_compressed else max(length, bits // 8)
    )
    return PixelState.WHOLE if promised <= _left(file) else PixelState.TRUNCATED


def _element_length(file: BinaryIO, order: str, *, implicit: bool) -> int | None:
    """Length of the pixel data element that starts here; None when none does."""
    start = file.read(8)
    if len(start) < 8 or struct.unpack(f"{order}HH", start[:4]) not in PIXEL_TAGS:
        return None
    if implicit:
        return int(struct.unpack(f"{order}L", start[4:])[0])
    if start[4:6] in {b"OB", b"OW", b"OF", b"OD", b"OV", b"UN"}:
        long = file.read(4)
        return int(struct.unpack(f"{order}L", long)[0]) if len(long) == 4 else None
    return int(struct.unpack(f"{order}H", start[6:])[0])


def _ends(file: BinaryIO) -> bool:
    """Whether the fragments that follow are all there up to the closing delimiter."""
    while len(start := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", start)
        if (group, element) == END:
            return True
        if (group, element) != ITEM or length > _left(file):
            return False
        file.seek(length, os.SEEK_CUR)
    return False


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()
