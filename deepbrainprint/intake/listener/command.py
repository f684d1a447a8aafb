"""The command sets of C-STORE (DICOM PS3.7 §9.3.1), read and written without a data set object."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from deepbrainprint.intake.elements import Encoding, top_level_elements

C_STORE_RQ = 0x0001
NO_DATA_SET = 0x0101  # any other Command Data Set Type says that one follows

_IMPLICIT = Encoding(implicit=True, little_endian=True)
_SOP_CLASS, _FIELD, _MESSAGE_ID = 0x00000002, 0x00000100, 0x00000110
_DATA_SET_TYPE, _SOP_INSTANCE = 0x00000800, 0x00001000
_C_STORE_RSP = 0x8001
_LONGEST_COMMENT = 64  # PS3.7 Annex C: (0000,0902) is an LO


@dataclass(frozen=True)
class Command:
    """What a command set says, as far as storing needs it."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str


def read_command(encoded: bytes) -> Command:
    """Read a command set, always implicit VR little endian. ValueError when it is none."""
    values = {
        tag: encoded[begin:end]
        for tag, begin, end in top_level_elements(encoded, _IMPLICIT)
        if end <= len(encoded)
    }
    return Command(
        field=_number(values, _FIELD),
        message_id=_number(values, _MESSAGE_ID, 0),
        has_data_set=_number(values, _DATA_SET_TYPE) != NO_DATA_SET,
        sop_class_uid=_uid(values, _SOP_CLASS),
        sop_instance_uid=_uid(values, _SOP_INSTANCE),
    )


def encode_store_response(command: Command, status: int, comment: str = "") -> bytes:
    """The command set of a C-STORE-RSP."""
    body = (
        _element(0x0002, _even(command.sop_class_uid))
        + _element(0x0100, struct.pack("<H", _C_STORE_RSP))
        + _element(0x0120, struct.pack("<H", command.message_id))
        + _element(0x0800, struct.pack("<H", NO_DATA_SET))
        + _element(0x0900, struct.pack("<H", status))
        + (_element(0x0902, _even(comment[:_LONGEST_COMMENT], b" ")) if comment else b"")
        + _element(0x1000, _even(command.sop_instance_uid))
    )
    return _element(0x0000, struct.pack("<L", len(body))) + body


def command_pdu(context_id: int, command: bytes) -> bytes:
    """A P-DATA-TF PDU (PS3.8 §9.3.5) with a whole command set in one value."""
    size = len(command) + 2
    return struct.pack(">BxLLBB", 0x04, size + 4, size, context_id, 0x03) + command


def _number(values: dict[int, bytes], tag: int, default: int | None = None) -> int:
    raw = values.get(tag)
    if raw is None and default is not None:
        return default
    if raw is None or len(raw) != 2:
        raise ValueError(f"no element {tag:08x} in the command set")
    return int.from_bytes(raw, "little")


def _uid(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").decode("ascii", "replace").strip("\0 ")


def _even(text: str, padding: bytes = b"\0") -> bytes:
    value = text.encode("ascii", "replace")
    return value + padding * (len(value) % 2)


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value
