"""Reads the identifier of a C-FIND request (DICOM PS3.4 C.4.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

from deepbrainprint.intake.finding.answers import INSTANCE_AVAILABILITY
from deepbrainprint.intake.finding.attributes import (
    Attribute,
    Level,
    Matching,
    attributes_by_tag,
    unique_key,
)
from deepbrainprint.intake.finding.matching import bad_query
from deepbrainprint.intake.finding.question import Question, question

_LEVEL = 0x00080052
# Said about the question or the answer and not a key: character set, level, time zone, AE title.
_NO_KEYS = frozenset({0x00080005, _LEVEL, 0x00080201, 0x00080054, INSTANCE_AVAILABILITY})


@dataclass(frozen=True)
class Identifier:
    """A request as it was understood."""

    question: Question
    with_availability: bool
    all_supported: bool  # every optional key was one of ours


def read_identifier(data_set: Dataset, *, relational: bool, combined_times: bool) -> Identifier:
    """Understand a request; the options are those negotiated with the sender (PS3.4 C.5.1.1).

    BadStudy with code `bad_query` when it cannot be answered.
    """
    level = _level(data_set)
    known = attributes_by_tag()
    asked = {int(tag): _text(data_set, int(tag)) for tag in data_set.keys() - _NO_KEYS}
    values = {known[tag]: text for tag, text in asked.items() if tag in known}
    if not relational:
        _require_upper_keys(level, values)
    return Identifier(
        question(level, values, values, combined_times=combined_times),
        with_availability=INSTANCE_AVAILABILITY in data_set,
        all_supported=all(_is_supported(level, tag, text) for tag, text in asked.items()),
    )


def _level(data_set: Dataset) -> Level:
    text = _text(data_set, _LEVEL) if _LEVEL in data_set else ""
    try:
        return Level(text.strip())
    except ValueError:
        raise bad_query("QueryRetrieveLevel is none of STUDY, SERIES, IMAGE") from None


def _require_upper_keys(level: Level, values: dict[Attribute, str]) -> None:
    """PS3.4 C.4.1.2.1: without relational queries each level above is named by its unique key."""
    for above in Level:
        key = unique_key(above)
        if above is not level and level.reaches(above) and not values.get(key, "").strip("* "):
            raise bad_query(f"{key.keyword} is required at level {level}")


def _is_supported(level: Level, tag: int, text: str) -> bool:
    attribute = attributes_by_tag().get(tag)
    if attribute is None or not level.reaches(attribute.level):
        return False
    return attribute.matching is not Matching.NONE or not text


def _text(data_set: Dataset, tag: int) -> str:
    """The value of an element as text; sequences, of which none is a key of ours, are empty."""
    try:
        value = data_set[tag].value
    except Exception:  # noqa: BLE001 — whatever pydicom makes of a value that is none
        raise bad_query(f"{keyword_for_tag(tag) or 'a key'} cannot be read") from None
    if value is None or tag not in attributes_by_tag().keys() | {_LEVEL}:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
