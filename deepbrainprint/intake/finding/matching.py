"""Turns the value of a key into what the database compares with (DICOM PS3.4 C.2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.finding.attributes import Attribute, Matching
from deepbrainprint.intake.header import is_valid_uid

_LARGEST_NUMBER = 2**31 - 1
_LONGEST_VALUE = 1024
_MOST_UIDS = 10_000
_MIDNIGHT, _LAST_MOMENT = "000000000000", "235959999999"
_FIRST_DAY, _LAST_DAY = "00000000", "99991231"


def conditions(attribute: Attribute, value: str) -> dict[str, object]:
    """The keys of Sought, with their values, that say what a query asks of one attribute.

    Empty when everything matches. BadStudy with code `bad_query` when the value is none of that
    attribute; its message names the attribute, not the value.
    """
    value = value.strip(" \0")
    if not value.strip("*"):  # PS3.4 C.2.2.2.3: universal matching
        return {}
    return _READERS[attribute.matching](attribute, value)


def like_pattern(value: str) -> str:
    """A value with the wildcards * and ? as a pattern of SQL's `like`, all else literally."""
    escaped = re.sub(r"([\\%_])", r"\\\1", value)
    return escaped.replace("*", "%").replace("?", "_")


def date_range(keyword: str, value: str) -> tuple[str, str]:
    """First and last day of a date or a range of dates (PS3.4 C.2.2.2.5), both YYYYMMDD."""
    first, last = _ends(keyword, value.replace(".", ""))
    for day in filter(None, (first, last)):
        if not re.fullmatch(r"\d{8}", day, re.ASCII):
            raise bad_query(f"{keyword} is no date: write YYYYMMDD or a range YYYYMMDD-YYYYMMDD")
    return first or _FIRST_DAY, last or _LAST_DAY


def time_range(keyword: str, value: str) -> tuple[str, str]:
    """First and last moment of a time or a range of times, both HHMMSSFFFFFF.

    A time that leaves out its minutes or seconds stands for all of them.
    """
    first, last = _ends(keyword, value.replace(":", ""))
    for moment in filter(None, (first, last)):
        if not re.fullmatch(r"\d\d(\d\d(\d\d(\.\d{1,6})?)?)?", moment, re.ASCII):
            raise bad_query(f"{keyword} is no time: write HHMMSS or a range HHMMSS-HHMMSS")
    first, last = first.replace(".", ""), last.replace(".", "")
    return first + _MIDNIGHT[len(first) :], last + _LAST_MOMENT[len(last) :]


def bad_query(message: str) -> BadStudy:
    """The error of a question that cannot be answered as it was asked."""
    return BadStudy(message, code="bad_query")


def _ends(keyword: str, value: str) -> tuple[str, str]:
    """Both ends of a range, empty where open; a single value is its own end."""
    first, hyphen, last = (part.strip() for part in value.partition("-"))
    if not hyphen:
        return first, first
    if not first and not last:
        raise bad_query(f"{keyword} is a range without ends: name at least one of them")
    return first, last


def _uids(attribute: Attribute, value: str) -> dict[str, object]:
    uids = [uid.strip(" \0") for uid in re.split(r"[\\,]", value)]
    if len(uids) > _MOST_UIDS or not all(map(is_valid_uid, uids)):
        raise bad_query(f"{attribute.keyword} holds something that is no UID: correct it")
    return {f"{attribute.field}s": uids}


def _text(attribute: Attribute, value: str) -> dict[str, object]:
    return {attribute.field: like_pattern(_bounded(attribute, value))}


def _texts(attribute: Attribute, value: str) -> dict[str, object]:
    words = re.split(r"[\\,]", _bounded(attribute, value))
    return {attribute.field: [like_pattern(word.strip()) for word in words]}


def _name(attribute: Attribute, value: str) -> dict[str, object]:
    """A name has up to three component groups; trailing ^ may be left out (PS3.5 §6.2.1)."""
    groups = [group.rstrip("^ ") for group in _bounded(attribute, value).split("=")[:3]]
    if len(groups) == 1:
        return {attribute.field: like_pattern(groups[0])}
    return {
        f"{attribute.field}_{number}": like_pattern(group)
        for number, group in enumerate(groups, start=1)
        if group.strip("*")
    }


def _date(attribute: Attribute, value: str) -> dict[str, object]:
    return _bounds(attribute, *date_range(attribute.keyword, value))


def _time(attribute: Attribute, value: str) -> dict[str, object]:
    return _bounds(attribute, *time_range(attribute.keyword, value))


def _bounds(attribute: Attribute, first: str, last: str) -> dict[str, object]:
    return {f"{attribute.field}_from": first, f"{attribute.field}_to": last}


def _number(attribute: Attribute, value: str) -> dict[str, object]:
    if not re.fullmatch(r"[+-]?\d{1,10}", value, re.ASCII) or abs(int(value)) > _LARGEST_NUMBER:
        raise bad_query(f"{attribute.keyword} is no whole number: correct it")
    return {attribute.field: int(value)}


def _nothing(_attribute: Attribute, _value: str) -> dict[str, object]:
    return {}


def _bounded(attribute: Attribute, value: str) -> str:
    if len(value) > _LONGEST_VALUE or "\0" in value:
        raise bad_query(f"{attribute.keyword} is longer than any value of it: shorten it")
    return value


_READERS: dict[Matching, Callable[[Attribute, str], dict[str, object]]] = {
    Matching.UIDS: _uids,
    Matching.TEXT: _text,
    Matching.TEXTS: _texts,
    Matching.NAME: _name,
    Matching.DATE: _date,
    Matching.TIME: _time,
    Matching.NUMBER: _number,
    Matching.NONE: _nothing,
}
