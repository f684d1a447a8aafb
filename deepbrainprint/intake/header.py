"""Reads out of an encoded data set what names it: UIDs and who the header says the patient is."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from pydicom import charset
from pydicom.uid import UID
from pydicom.valuerep import TEXT_VR_DELIMS

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.elements import Encoding, top_level_elements
from deepbrainprint.records import HeaderIdentity

_CHARACTER_SET = 0x00080005
_UIDS = {
    "sop_class_uid": 0x00080016,
    "sop_instance_uid": 0x00080018,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
}
_IDENTITY = {
    "study_date": 0x00080020,
    "accession_number": 0x00080050,
    "name": 0x00100010,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
}
_WANTED = frozenset({_CHARACTER_SET, *_UIDS.values(), *_IDENTITY.values()})

_DEFLATED = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
_INFLATED_BYTES = 64 << 20  # as far as a deflated data set is unpacked to look for its header
_LONGEST_TEXT = 256  # PS3.5 §6.2 allows 64 a component; two such columns still fit one index entry
_DELIMITERS = TEXT_VR_DELIMS | {ord("^"), ord("=")}


@dataclass(frozen=True)
class Header:
    """What a data set says it is. `sop_class_uid` may be empty; the other UIDs are valid."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    identity: HeaderIdentity


def read_header(data_set: bytes, *, transfer_syntax_uid: str) -> Header:
    """Read UIDs and identity; pixels are stepped over, not decoded.

    Raises BadStudy with code `truncated`, `unreadable`, `no_uid` or `invalid_uid`.
    """
    values = _wanted_values(data_set, transfer_syntax_uid)
    uids = {name: _uid(name, values.get(tag, b"")) for name, tag in _UIDS.items()}
    encodings = _encodings(values.get(_CHARACTER_SET, b""))
    texts = {name: _text(values.get(tag, b""), encodings) for name, tag in _IDENTITY.items()}
    texts["name"] = texts["name"].rstrip("=")  # PS3.5 §6.2: empty component groups may be left out
    return Header(**uids, identity=HeaderIdentity(**texts))


def is_valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 §9.1, leading zeros in a component allowed.

    Such zeros are forbidden but met in the field; UIDs are only ever compared as text here, so
    nothing is gained by losing the study. Longer than 64 is refused: peers cut such UIDs, and
    two that were cut alike would be one.
    """
    return len(text) <= 64 and re.fullmatch(r"\d+(\.\d+)*", text, re.ASCII) is not None


def _wanted_values(data_set: bytes, transfer_syntax_uid: str) -> dict[int, bytes]:
    """Raw values by tag of the elements that name the data set, read to its end."""
    syntax = UID(transfer_syntax_uid)
    data, whole = _inflated(data_set) if syntax in _DEFLATED else (data_set, True)
    encoding = Encoding(
        implicit=syntax == "1.2.840.10008.1.2", little_endian=syntax != "1.2.840.10008.1.2.2"
    )
    found: dict[int, bytes] = {}
    previous, orderly = -1, True
    for element in top_level_elements(data, encoding):
        orderly = orderly and element.tag > previous
        previous = element.tag
        if whole and orderly and element.end > len(data):
            raise _truncated()
        if element.tag in _WANTED:
            found.setdefault(element.tag, data[element.start : element.end])
    return found


def _inflated(data_set: bytes) -> tuple[bytes, bool]:
    """The unpacked bytes of a deflated data set (RFC 1951), and whether they are all of them."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = stream.decompress(data_set, _INFLATED_BYTES)
    except zlib.error:
        raise BadStudy(
            "the data set cannot be unpacked by its transfer syntax: send it again or in another",
            code="unreadable",
        ) from None
    if not stream.eof and not stream.unconsumed_tail:
        raise _truncated()
    return data, stream.eof


def _truncated() -> BadStudy:
    return BadStudy(
        "the object ends before its last element does: send it again from its source",
        code="truncated",
    )


def _uid(name: str, raw: bytes) -> str:
    text = raw.decode("ascii", "replace").strip("\0 ")
    if not text and name == "sop_class_uid":
        return ""  # the request names the class too
    if not text:
        raise BadStudy(
            f"the object has no {_spoken(name)}: it cannot be filed; correct it at its source",
            code="no_uid",
        )
    if not is_valid_uid(text):
        raise BadStudy(
            f"the {_spoken(name)} is not a UID: correct the object at its source",
            code="invalid_uid",
        )
    return text


def _spoken(name: str) -> str:
    return {
        "sop_class_uid": "SOP Class UID",
        "sop_instance_uid": "SOP Instance UID",
        "study_uid": "Study Instance UID",
        "series_uid": "Series Instance UID",
    }[name]


def _encodings(raw: bytes) -> list[str]:
    """Python codecs of Specific Character Set (0008,0005), PS3.3 C.12.1.1.2."""
    terms = [_term(term) for term in raw.decode("ascii", "replace").strip("\0 ").split("\\")]
    known = [term for term in terms if term in charset.python_encoding]
    return charset.convert_encodings(known or [""])


def _term(text: str) -> str:
    """A defined term as PS3.3 writes it; senders write the separators as they like."""
    match = re.fullmatch(r"ISO[ _-]?(2022[ _-]?)?IR[ _-]?(\d+)", text.strip().upper(), re.ASCII)
    if match is None:
        return text.strip()
    return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"


def _text(raw: bytes, encodings: list[str]) -> str:
    """Decoded text without padding, escapes and control characters, cut to a bounded length."""
    decoded = charset.decode_bytes(raw[: 16 * _LONGEST_TEXT], encodings, _DELIMITERS)
    printable = "".join(letter for letter in decoded if letter >= " " and letter != "\x7f")
    return printable.strip()[:_LONGEST_TEXT]
