"""Reads the file meta information of files that others wrote (DICOM PS3.10 §7.1), as they come."""

from __future__ import annotations

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.elements import Encoding, top_level_elements
from deepbrainprint.intake.part10 import Request

_EXPLICIT_LITTLE = Encoding(implicit=False, little_endian=True)
_PREAMBLE, _START = 128, 132
_GROUP, _GROUP_LENGTH = 0x0002, 0x00020000
_CLASS, _INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010


def read_file_meta(head: bytes, *, calling_ae: str) -> tuple[Request, int] | None:
    """What it says of the object, and where the data set starts; None while `head` is too short.

    BadStudy with code `no_meta` when there is none, or when it leaves out class, instance or
    transfer syntax.
    """
    if not b"DICM".startswith(head[_PREAMBLE:_START]):
        raise no_meta()
    end = _end(head)
    if end is None:
        return None
    values = {
        tag: head[begin:after].decode("ascii", "replace").strip("\0 ")
        for tag, begin, after in top_level_elements(head[:end], _EXPLICIT_LITTLE, _START)
    }
    request = Request(
        sop_class_uid=values.get(_CLASS, ""),
        sop_instance_uid=values.get(_INSTANCE, ""),
        transfer_syntax_uid=values.get(_SYNTAX, ""),
        calling_ae=calling_ae,
    )
    if not all(vars(request).values()):
        raise no_meta()
    return request, end


def no_meta() -> BadStudy:
    """The error of something that is no DICOM file."""
    return BadStudy(
        "a part does not begin with DICOM file meta information that names class, instance and "
        "transfer syntax (PS3.10 section 7.1): correct the sender",
        code="no_meta",
    )


def _end(head: bytes) -> int | None:
    """Where its group length says, or where another group begins for writers who leave that out."""
    end = _START
    for tag, begin, after in top_level_elements(head, _EXPLICIT_LITTLE, _START):
        if tag == _GROUP_LENGTH and after <= len(head):
            end = after + int.from_bytes(head[begin:after], "little")
            return end if end <= len(head) else None
        if tag and tag >> 16 != _GROUP:
            return end
        end = after
    return None
