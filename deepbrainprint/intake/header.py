"""Reads out of an encoded data set what it is: UIDs, who the patient is, an image's place."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from typing import Any, Literal

from pydicom import charset
from pydicom.valuerep import TEXT_VR_DELIMS

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.elements import Buffer, Encoding, top_level_elements
from deepbrainprint.records import HeaderIdentity, ImageFacts

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
    "study_time": 0x00080030,
    "study_label": 0x00200010,
    "study_description": 0x00081030,
    "referring_physician": 0x00080090,
    "series_description": 0x0008103E,
    "series_date": 0x00080021,
    "series_time": 0x00080031,
}
_WORDS = {
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "model": 0x00081090,
    "body_part": 0x00180015,
}
_NUMBERS = {
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "frames": 0x00280008,
    "study_instances": 0x00201208,
    "series_instances": 0x00201209,
}
_SIZES = {"image_rows": 0x00280010, "image_columns": 0x00280011}
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_WANTED = frozenset(
    {
        _CHARACTER_SET,
        _POSITION,
        _ORIENTATION,
        *_UIDS.values(),
        *_IDENTITY.values(),
        *_WORDS.values(),
        *_NUMBERS.values(),
        *_SIZES.values(),
    }
)

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
_INFLATED_BYTES = 64 << 20  # as far as a deflated data set is unpacked to look for its header
_LONGEST_TEXT = 256  # PS3.5 §6.2 allows 64 a component; two such columns still fit one index entry
_LONGEST_RAW = 16 * _LONGEST_TEXT  # escape sequences and multi-byte characters take more room
_LARGEST_NUMBER = 2**31 - 1  # PS3.5 §6.2: an integer string is a signed 32-bit number
_DELIMITERS = TEXT_VR_DELIMS | {ord("^"), ord("=")}


@dataclass(frozen=True)
class Header:
    """What a data set says it is. `sop_class_uid` may be empty; the other UIDs are valid."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    identity: HeaderIdentity
    facts: ImageFacts


def read_header(data: Buffer, *, transfer_syntax_uid: str, start: int = 0) -> Header:
    """Read the data set that begins at `start`; pixels are stepped over, not decoded.

    Raises BadStudy with code `truncated`, `unreadable`, `no_uid` or `invalid_uid`.
    """
    values = _wanted_values(data, start, transfer_syntax_uid)
    uids = {name: _uid(name, values.get(tag, b"")) for name, tag in _UIDS.items()}
    encodings = _encodings(values.get(_CHARACTER_SET, b""))
    texts = {name: _text(values.get(tag, b""), encodings) for name, tag in _IDENTITY.items()}
    texts["name"] = texts["name"].rstrip("=")  # PS3.5 §6.2: empty component groups may be left out
    order: Literal["little", "big"] = "big" if transfer_syntax_uid == _BIG_ENDIAN else "little"
    return Header(**uids, identity=HeaderIdentity(**texts), facts=_facts(values, encodings, order))


def is_valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 §9.1, leading zeros in a component allowed.

    Such zeros are forbidden but met in the field; UIDs are only ever compared as text here, so
    nothing is gained by losing the study. Longer than 64 is refused: peers cut such UIDs, and
    two that were cut alike would be one.
    """
    return len(text) <= 64 and re.fullmatch(r"\d+(\.\d+)*", text, re.ASCII) is not None


def _wanted_values(data: Buffer, start: int, transfer_syntax_uid: str) -> dict[int, bytes]:
    """Raw values by tag of the elements that name the data set, read to its end."""
    whole = True
    if transfer_syntax_uid in _DEFLATED:
        (data, whole), start = _inflated(data[start:]), 0
    encoding = Encoding(
        implicit=transfer_syntax_uid == _IMPLICIT, little_endian=transfer_syntax_uid != _BIG_ENDIAN
    )
    found: dict[int, bytes] = {}
    previous, size = -1, len(data)
    orderly = whole
    for tag, begin, end in top_level_elements(data, encoding, start):
        orderly = orderly and tag > previous
        previous = tag
        if orderly and end > size:
            raise _truncated()
        if tag in _WANTED and tag not in found:
            found[tag] = data[begin : min(end, begin + _LONGEST_RAW)]
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
    if raw.isascii() and (text := raw.decode("ascii")).isprintable():
        return text.strip()[:_LONGEST_TEXT]
    decoded = charset.decode_bytes(raw, encodings, _DELIMITERS)
    return "".join(filter(_is_text, decoded)).strip()[:_LONGEST_TEXT]


def _is_text(letter: str) -> bool:
    """Neither a control character nor half of a surrogate pair, which no encoding can carry."""
    return " " <= letter != "\x7f" and not "\ud800" <= letter <= "\udfff"


def _facts(
    values: dict[int, bytes], encodings: list[str], order: Literal["little", "big"]
) -> ImageFacts:
    facts: dict[str, Any] = {
        name: _text(values.get(tag, b""), encodings) for name, tag in _WORDS.items()
    }
    facts |= {name: _number(values.get(tag, b"")) for name, tag in _NUMBERS.items()}
    for name, tag in _SIZES.items():
        raw = values.get(tag, b"")
        facts[name] = int.from_bytes(raw, order) if len(raw) == 2 else None
    position = _slice_position(values.get(_POSITION, b""), values.get(_ORIENTATION, b""))
    return ImageFacts(**facts, slice_position=position)


def _number(raw: bytes) -> int | None:
    """An integer string (IS); None where the header says nothing that is one."""
    try:
        number = int(raw.decode("ascii").strip("\0 "))
    except ValueError:
        return None
    return number if abs(number) <= _LARGEST_NUMBER else None


def _slice_position(position: bytes, orientation: bytes) -> float | None:
    """Where the slice lies along its normal in mm (PS3.3 C.7.6.2.1.1)."""
    place, axes = _decimals(position), _decimals(orientation)
    if len(place) != 3 or len(axes) != 6:
        return None
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    along = sum(x * y for x, y in zip(place, normal, strict=True))
    return along if math.isfinite(along) else None


def _decimals(raw: bytes) -> list[float]:
    """Decimal strings (DS); empty where one of them is none."""
    try:
        return [float(part) for part in raw.decode("ascii").strip("\0 ").split("\\")]
    except ValueError:
        return []
