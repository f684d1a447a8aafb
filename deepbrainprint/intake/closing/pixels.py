"""What can be recognised again of an image: the SHA-256 of its pixels as they are encoded.

The same pixels in another transfer syntax have another digest; those of a deflated data set have
none.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from deepbrainprint.intake.elements import ITEM_END, SEQUENCE_END, Encoding, top_level_elements
from deepbrainprint.intake.part10 import filed_object

_DEFLATED = frozenset(
    {
        DeflatedExplicitVRLittleEndian,
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # float, double, integer
_PERIOD_BYTES = 24  # of one value repeated: 1, 2, 3, 4, 6 or 8 bytes a pixel
_CHUNK_BYTES = _PERIOD_BYTES << 15
_FEWEST_ENCODED_BYTES = 0.02  # a pixel; an image that is packed smaller shows nothing

_Parts = list[tuple[int, int]]  # where the pixels begin and end in the file


def pixel_digest(path: Path, *, pixels: int = 0) -> str:
    """Hexadecimal digest of the pixels of one of our files, read by mmap; empty when none tell.

    None tell where there are no pixels, where all have one value, and where `pixels` of them are
    packed into next to nothing. Raises BadStudy for a file that is none of ours, OSError when it
    is not there.
    """
    with filed_object(path) as there:
        syntax = there.request.transfer_syntax_uid
        if syntax in _DEFLATED:
            return ""
        encoding = Encoding(
            implicit=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
        )
        for tag, begin, end in top_level_elements(there.data, encoding, there.start):
            if tag in _PIXELS:
                return _digest(there.data, begin, min(end, len(there.data)), pixels)
    return ""


def _digest(data: mmap.mmap, begin: int, end: int, pixels: int) -> str:
    if data[begin - 4 : begin] != b"\xff\xff\xff\xff":
        return "" if _is_even(data, begin, end) else _sha256(data, [(begin, end)])
    parts = list(_fragments(data, begin, end))
    size = sum(stop - start for start, stop in parts)
    return "" if size <= pixels * _FEWEST_ENCODED_BYTES else _sha256(data, parts)


def _fragments(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Items of encapsulated pixel data without the first, the offset table (PS3.5 §A.4)."""
    first = True
    while begin + 8 <= end:
        group, element, length = struct.unpack_from("<HHL", data, begin)
        if (group << 16 | element) in {ITEM_END, SEQUENCE_END}:
            return
        begin += 8
        if not first:
            yield begin, min(begin + length, end)
        first, begin = False, begin + length


def _is_even(data: mmap.mmap, begin: int, end: int) -> bool:
    """Whether one value is repeated all over; an empty image is even too."""
    even = data[begin : min(begin + _PERIOD_BYTES, end)] * (_CHUNK_BYTES // _PERIOD_BYTES)
    return all(
        data[start : min(start + _CHUNK_BYTES, end)] == even[: end - start]
        for start in range(begin, end, _CHUNK_BYTES)
    )


def _sha256(data: mmap.mmap, parts: _Parts) -> str:
    digest = hashlib.sha256()
    with memoryview(data) as view:
        for begin, end in parts:
            with view[begin:end] as part:
                digest.update(part)
    return digest.hexdigest()
