"""What is inside a kept object, told without saying who it is of; how two copies differ."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydicom import charset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.valuerep import TEXT_VR_DELIMS

from deepbrainprint.intake.elements import Encoding, top_level_elements
from deepbrainprint.intake.part10 import FiledObject, Request, filed_object

_MOST_ELEMENTS = 2000  # bytes that are no data set at all can look like very many
_MOST_TEXT = 1024  # bytes of a value that are shown
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
_CHARACTER_SET, _TRANSFER_SYNTAX = 0x00080005, 0x00020010

# Elements that say nothing about a person, and what their values look like: a sender may put
# anything anywhere, so a value of another form is not shown either.
_UID = re.compile(r"[0-9.]{1,64}")
_CODE = re.compile(r"[A-Z0-9_ .\\-]{1,64}")
_INTEGER = re.compile(r"[+-]?\d{1,12}")
_HARMLESS = {
    0x00080005: _CODE,  # Specific Character Set
    0x00080008: _CODE,  # Image Type
    0x00080016: _UID,
    0x00080018: _UID,
    0x00080060: re.compile(r"[A-Z]{2,8}"),  # Modality
    0x0020000D: _UID,
    0x0020000E: _UID,
    0x00200011: _INTEGER,  # Series Number
    0x00200013: _INTEGER,  # Instance Number
    0x00200052: _UID,  # Frame of Reference
    0x00280008: _INTEGER,  # Number of Frames
    0x00280004: re.compile(r"[A-Z0-9_]{1,16}"),  # Photometric Interpretation
}
_HARMLESS_SIZES = frozenset(
    {0x00280002, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103}
)
_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI",
     "UR", "UT"}
)  # fmt: skip
_BINARY_INTEGERS = {"US": False, "UL": False, "SS": True, "SL": True}  # whether signed


@dataclass(frozen=True)
class Element:
    """One top-level element; `value` is None where it is not shown."""

    tag: str
    keyword: str
    vr: str
    length: int
    value: str | None


@dataclass(frozen=True)
class Inspection:
    """A kept object: what its sender said of it, and its top-level elements as they lie there."""

    request: Request
    elements: list[Element]
    note: str  # why elements are not listed, or not all


@dataclass(frozen=True)
class Difference:
    """One top-level element in which two copies differ; no values."""

    tag: str
    keyword: str
    how: str  # `only held`, `only filed` or `differs`


def inspect(path: Path, *, show_identity: bool = False) -> Inspection:
    """Look into a kept object. Values that may say who it is of only with `show_identity`.

    BadStudy when it is no file of ours, OSError when it cannot be read.
    """
    with filed_object(path) as there:
        syntax = there.request.transfer_syntax_uid
        if syntax in _DEFLATED:
            return Inspection(there.request, [], "its elements are deflated and not listed")
        places = list(islice(_places(there), _MOST_ELEMENTS))
        encodings = _encodings(there, places)
        elements = [
            _element(there, place, encodings, show_identity=show_identity) for place in places
        ]
        return Inspection(there.request, elements, _note(there, places))


def differences(held: Path, filed: Path) -> list[Difference]:
    """In which top-level elements two copies differ, by tag. Raises as `inspect` does.

    The transfer syntax counts as one; of deflated copies nothing else is compared.
    """
    one, other = _digests(held), _digests(filed)
    return [
        Difference(_spoken(tag), keyword_for_tag(tag), _how(one.get(tag), other.get(tag)))
        for tag in sorted(one.keys() | other.keys())
        if one.get(tag) != other.get(tag)
    ]


_Place = tuple[int, int, int]  # tag, start and end of its value


def _places(there: FiledObject) -> Iterator[_Place]:
    syntax = there.request.transfer_syntax_uid
    encoding = Encoding(implicit=syntax == _IMPLICIT, little_endian=syntax != _BIG_ENDIAN)
    return top_level_elements(there.data, encoding, there.start)


def _note(there: FiledObject, places: list[_Place]) -> str:
    if len(places) == _MOST_ELEMENTS:
        return f"only the first {_MOST_ELEMENTS} elements are listed"
    if places and places[-1][2] > len(there.data):
        return f"the last element ends {places[-1][2] - len(there.data)} bytes behind the object"
    return ""


def _element(
    there: FiledObject, place: _Place, encodings: list[str], *, show_identity: bool
) -> Element:
    tag, begin, end = place
    vr = _vr(tag)
    raw = there.data[begin : min(end, begin + _MOST_TEXT)]
    is_big = there.request.transfer_syntax_uid == _BIG_ENDIAN
    value = _decoded(vr, raw, encodings, is_big=is_big)
    shown = value if show_identity or _is_harmless(tag, value) else None
    return Element(_spoken(tag), keyword_for_tag(tag), vr, end - begin, shown)


def _is_harmless(tag: int, value: str | None) -> bool:
    if value is None or tag in _HARMLESS_SIZES:
        return True
    pattern = _HARMLESS.get(tag)
    return value == "" or (pattern is not None and pattern.fullmatch(value) is not None)


def _decoded(vr: str, raw: bytes, encodings: list[str], *, is_big: bool) -> str | None:
    if vr in _BINARY_INTEGERS:
        signed = _BINARY_INTEGERS[vr]
        return str(int.from_bytes(raw, "big" if is_big else "little", signed=signed))
    if vr not in _TEXT_VRS:
        return None
    with warnings.catch_warnings(action="ignore"):  # broken text is what is looked at here
        text = charset.decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _encodings(there: FiledObject, places: list[_Place]) -> list[str]:
    for tag, begin, end in places:
        if tag == _CHARACTER_SET:
            terms = there.data[begin : min(end, begin + _MOST_TEXT)].decode("ascii", "replace")
            known = [term for term in terms.strip("\0 ").split("\\") if term in _KNOWN_TERMS]
            return charset.convert_encodings(known or [""])
    return charset.convert_encodings([""])


_KNOWN_TERMS = frozenset(charset.python_encoding)


def _vr(tag: int) -> str:
    """By the dictionary: what a broken object says of itself is no help."""
    try:
        return dictionary_VR(tag).split(" ")[0]  # such as `US or SS`
    except KeyError:
        return "UN"


def _digests(path: Path) -> dict[int, str]:
    with filed_object(path) as there:
        syntax = there.request.transfer_syntax_uid
        places = () if syntax in _DEFLATED else islice(_places(there), _MOST_ELEMENTS)
        found = {
            tag: hashlib.sha256(there.data[begin:end]).hexdigest() for tag, begin, end in places
        }
        return {_TRANSFER_SYNTAX: syntax, **found}


def _how(held: str | None, filed: str | None) -> str:
    if filed is None:
        return "only held"
    return "only filed" if held is None else "differs"


def _spoken(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
