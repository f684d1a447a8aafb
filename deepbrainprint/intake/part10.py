"""The DICOM file format (PS3.10 §7): a delivery as a file, and a file as a delivery again."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.elements import Buffer, Encoding, top_level_elements

# From a random UUID (PS3.5 B.2). It never changes: what it wrote must stay recognisable.
IMPLEMENTATION_CLASS_UID = "2.25.325527808302278500036625008558005478653"

_PREAMBLE = bytes(128) + b"DICM"
_EXPLICIT_LITTLE = Encoding(implicit=False, little_endian=True)
_GROUP_LENGTH_BYTES = 12

_CLASS, _INSTANCE, _SYNTAX, _IMPLEMENTATION, _SENDER = (
    0x00020002,
    0x00020003,
    0x00020010,
    0x00020012,
    0x00020017,
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a sender says of an SOP instance before its bytes come."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str


@dataclass(frozen=True, kw_only=True)
class Delivery(Request):
    """One SOP instance as a door took it: what was said of it, and the bytes of its data set."""

    data_set: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """Digest of the data set exactly as it was sent; what we write before it does not count."""
        return hashlib.sha256(self.data_set).hexdigest()


def encoded_meta(request: Request) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 §7.1) to stand before the data set."""
    meta = (
        struct.pack("<HH2s2xL", 0x0002, 0x0001, b"OB", 2)
        + b"\x00\x01"
        + _element(_CLASS, b"UI", request.sop_class_uid)
        + _element(_INSTANCE, b"UI", request.sop_instance_uid)
        + _element(_SYNTAX, b"UI", request.transfer_syntax_uid)
        + _element(_IMPLEMENTATION, b"UI", IMPLEMENTATION_CLASS_UID)
        + _element(_SENDER, b"AE", request.calling_ae)
    )
    return _PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta)) + meta


def read_delivery(path: Path) -> Delivery:
    """Read back what `encoded_meta` and a data set made. BadStudy when it is no such file."""
    content = path.read_bytes()
    request, start = read_request(content)
    return Delivery(**vars(request), data_set=content[start:])


@dataclass(frozen=True)
class FiledObject:
    """A file of ours that lies open: what was said of the object, and where its data set starts."""

    request: Request
    data: mmap.mmap
    start: int

    def sha256(self) -> str:
        """Digest of the data set, read from the file now."""
        digest = hashlib.sha256()
        with memoryview(self.data) as view:
            digest.update(view[self.start :])
        return digest.hexdigest()


@contextmanager
def filed_object(path: Path) -> Iterator[FiledObject]:
    """Open a file of ours without reading it whole.

    BadStudy when it is no such file, OSError when it is not there.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # nothing of that length can be mapped
            raise _not_ours()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            request, start = read_request(data)
            yield FiledObject(request, data, start)


def read_request(content: Buffer) -> tuple[Request, int]:
    """Read what `encoded_meta` wrote, and where the data set starts. BadStudy when it is not so."""
    start = len(_PREAMBLE) + _GROUP_LENGTH_BYTES
    if len(content) < start or content[128:132] != b"DICM":
        raise _not_ours()
    (length,) = struct.unpack_from("<L", content, start - 4)
    meta = content[start : start + length]
    values = {
        tag: meta[begin:end].decode("ascii", "replace").strip("\0 ")
        for tag, begin, end in top_level_elements(meta, _EXPLICIT_LITTLE)
    }
    request = Request(
        sop_class_uid=values.get(_CLASS, ""),
        sop_instance_uid=values.get(_INSTANCE, ""),
        transfer_syntax_uid=values.get(_SYNTAX, ""),
        calling_ae=values.get(_SENDER, ""),
    )
    return request, start + length


def _not_ours() -> BadStudy:
    return BadStudy("the file is not in DICOM format: move it elsewhere", code="not_dicom")


def _element(tag: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)  # PS3.5 §6.2: even length
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
