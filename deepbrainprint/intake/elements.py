"""Walks the data elements of an encoded data set without decoding a value (DICOM PS3.5 §7).

Nothing here recurses, so a data set nested a thousand deep costs no more than a flat one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

# PS3.5 §7.1.2: these value representations have a 32-bit length after two reserved bytes.
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


@dataclass(frozen=True)
class Encoding:
    """How elements are laid out: VR written or implied, byte order."""

    implicit: bool
    little_endian: bool


@dataclass(frozen=True)
class Element:
    """One element at the top of a data set; its value is `data[start:end]`.

    `end` lies behind the last byte of a data set that was cut off.
    """

    tag: int
    start: int
    end: int


@dataclass(frozen=True)
class _Prefix:
    tag: int
    vr: bytes
    start: int
    length: int


def top_level_elements(data: bytes, encoding: Encoding) -> Iterator[Element]:
    """The elements of `data` outside all sequences, in the order in which they lie.

    What is left over at the end and too short for an element is handed out with tag 0.
    """
    encoding = _as_written(data, encoding)
    position = 0
    while position < len(data):
        prefix = _prefix(data, position, encoding)
        if prefix is None:
            yield Element(0, position, len(data))
            return
        end = _end(data, prefix, encoding)
        yield Element(prefix.tag, prefix.start, end)
        position = end


def _as_written(data: bytes, encoding: Encoding) -> Encoding:
    """The encoding of the first element: some senders write VRs against what they agreed to."""
    vr = data[4:6]
    return replace(encoding, implicit=not (vr.isalpha() and vr.isupper()))


def _prefix(data: bytes, position: int, encoding: Encoding) -> _Prefix | None:
    if position + 8 > len(data):
        return None
    order = "<" if encoding.little_endian else ">"
    group, number = struct.unpack_from(order + "HH", data, position)
    tag = group << 16 | number
    vr = data[position + 4 : position + 6]
    if encoding.implicit or group == 0xFFFE or not vr.isalpha():
        return _Prefix(
            tag, b"", position + 8, struct.unpack_from(order + "L", data, position + 4)[0]
        )
    if vr not in _LONG:
        return _Prefix(
            tag, vr, position + 8, struct.unpack_from(order + "H", data, position + 6)[0]
        )
    if position + 12 > len(data):
        return None
    return _Prefix(tag, vr, position + 12, struct.unpack_from(order + "L", data, position + 8)[0])


def _end(data: bytes, prefix: _Prefix, encoding: Encoding) -> int:
    if prefix.length != UNDEFINED:
        return prefix.start + prefix.length
    return _end_of_sequence(data, prefix.start, _inside(prefix, encoding))


def _inside(prefix: _Prefix, encoding: Encoding) -> Encoding:
    """PS3.5 §6.2.2: a UN of undefined length holds implicit VR little endian."""
    return Encoding(implicit=True, little_endian=True) if prefix.vr == b"UN" else encoding


def _end_of_sequence(data: bytes, position: int, encoding: Encoding) -> int:
    """The position after the delimiter of the sequence whose first item is at `position`."""
    open_levels = [encoding]
    while open_levels:
        prefix = _prefix(data, position, open_levels[-1])
        if prefix is None:
            return len(data)
        position = prefix.start
        if prefix.tag in {ITEM_END, SEQUENCE_END}:
            open_levels.pop()
        elif prefix.length == UNDEFINED:
            open_levels.append(_inside(prefix, open_levels[-1]))
        else:
            position += prefix.length
    return position
