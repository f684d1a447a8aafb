"""Walks the data elements of an encoded data set without decoding a value (DICOM PS3.5 §7).

Nothing here recurses, so a data set nested a thousand deep costs no more than a flat one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

Buffer: TypeAlias = bytes | mmap.mmap  # what is walked; a slice of it is bytes

ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

# PS3.5 §7.1.2: these value representations have a 32-bit length after two reserved bytes.
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_STARTS = {True: struct.Struct("<HH2sH"), False: struct.Struct(">HH2sH")}  # by little-endianness
_LENGTHS = {True: struct.Struct("<L"), False: struct.Struct(">L")}


@dataclass(frozen=True)
class Encoding:
    """How elements are laid out: VR written or implied, byte order."""

    implicit: bool
    little_endian: bool


_Prefix: TypeAlias = tuple[int, bytes, int, int]  # tag, VR, start of the value, its length


def top_level_elements(
    data: Buffer, encoding: Encoding, start: int = 0
) -> Iterator[tuple[int, int, int]]:
    """The elements of `data` from `start` on and outside all sequences, as they lie there.

    Of each the tag, and where its value starts and ends; the end lies behind the last byte of a
    data set that was cut off. What is left over and too short for an element has tag 0.
    """
    encoding = _as_written(data, encoding, start)
    position, size = start, len(data)
    while position < size:
        prefix = _prefix(data, position, encoding)
        if prefix is None:
            yield 0, position, size
            return
        tag, vr, begin, length = prefix
        if length == UNDEFINED:
            position = _end_of_sequence(data, begin, _inside(vr, encoding))
        else:
            position = begin + length
        yield tag, begin, position


def _as_written(data: Buffer, encoding: Encoding, start: int) -> Encoding:
    """The encoding of the first element: some senders write VRs against what they agreed to."""
    vr = data[start + 4 : start + 6]
    return replace(encoding, implicit=not (vr.isalpha() and vr.isupper()))


def _prefix(data: Buffer, position: int, encoding: Encoding) -> _Prefix | None:
    if position + 8 > len(data):
        return None
    little = encoding.little_endian
    group, number, vr, length = _STARTS[little].unpack_from(data, position)
    tag = group << 16 | number
    if encoding.implicit or group == 0xFFFE or not vr.isalpha():
        return tag, b"", position + 8, _LENGTHS[little].unpack_from(data, position + 4)[0]
    if vr not in _LONG:
        return tag, vr, position + 8, length
    if position + 12 > len(data):
        return None
    return tag, vr, position + 12, _LENGTHS[little].unpack_from(data, position + 8)[0]


def _inside(vr: bytes, encoding: Encoding) -> Encoding:
    """PS3.5 §6.2.2: a UN of undefined length holds implicit VR little endian."""
    return Encoding(implicit=True, little_endian=True) if vr == b"UN" else encoding


def _end_of_sequence(data: Buffer, position: int, encoding: Encoding) -> int:
    """The position after the delimiter of the sequence whose first item is at `position`."""
    open_levels = [encoding]
    while open_levels:
        prefix = _prefix(data, position, open_levels[-1])
        if prefix is None:
            return len(data)
        tag, vr, position, length = prefix
        if tag in {ITEM_END, SEQUENCE_END}:
            open_levels.pop()
        elif length == UNDEFINED:
            open_levels.append(_inside(vr, open_levels[-1]))
        else:
            position += length
    return position
