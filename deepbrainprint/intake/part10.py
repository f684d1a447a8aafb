"""The DICOM file format (PS3.10 §7): a delivery as a file, and a file as a delivery again."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.elements import Encoding, top_level_elements

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


@dataclass(frozen=True)
class Delivery:
    """One SOP instance as a door took it: the bytes of its data set, and what was said of them."""

    data_set: bytes = field(repr=False)
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str

    @cached_property
    def sha256(self) -> str:
        """Digest of the data set exactly as it was sent; what we write before it does not count."""
        return hashlib.sha256(self.data_set).hexdigest()


def encoded_meta(delivery: Delivery) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 §7.1) to stand before the data set."""
    meta = (
        struct.pack("<HH2s2xL", 0x0002, 0x0001, b"OB", 2)
        + b"\x00\x01"
        + _element(_CLASS, b"UI", delivery.sop_class_uid)
        + _element(_INSTANCE, b"UI", delivery.sop_instance_uid)
        + _element(_SYNTAX, b"UI", delivery.transfer_syntax_uid)
        + _element(_IMPLEMENTATION, b"UI", IMPLEMENTATION_CLASS_UID)
        + _element(_SENDER, b"AE", delivery.calling_ae)
    )
    return _PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta)) + meta


def read_delivery(path: Path) -> Delivery:
    """Read back what `encoded_meta` and a data set made. BadStudy when it is no such file."""
    content = path.read_bytes()
    start = len(_PREAMBLE) + _GROUP_LENGTH_BYTES
    if len(content) < start or content[128:132] != b"DICM":
        raise BadStudy("the file is not in DICOM format: move it elsewhere", code="not_dicom")
    (length,) = struct.unpack_from("<L", content, start - 4)
    meta = content[start : start + length]
    values = {
        element.tag: meta[element.start : element.end].decode("ascii", "replace").strip("\0 ")
        for element in top_level_elements(meta, _EXPLICIT_LITTLE)
    }
    return Delivery(
        data_set=content[start + length :],
        sop_class_uid=values.get(_CLASS, ""),
        sop_instance_uid=values.get(_INSTANCE, ""),
        transfer_syntax_uid=values.get(_SYNTAX, ""),
        calling_ae=values.get(_SENDER, ""),
    )


def _element(tag: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)  # PS3.5 §6.2: even length
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
