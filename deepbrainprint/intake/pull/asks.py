"""What is asked of a PACS: lines of a list, values of options, a range of dates."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from deepbrainprint.errors import BadStudy

_COLUMNS = {
    "studyinstanceuid": "study",
    "studyuid": "study",
    "accessionnumber": "accession",
    "accession": "accession",
    "patientid": "patient",
    "patient": "patient",
}
_LONGEST_VALUE = 64  # PS3.5 §6.2: the longest of LO, SH and UI
_LONGEST_RANGE_DAYS = 3660


class Kind(StrEnum):
    """What a value is."""

    ACCESSION = "accession"
    PATIENT = "patient"
    STUDY = "study"
    DATES = "dates"


@dataclass(frozen=True)
class Ask:
    """One thing to look for. `value` is identity; `place` says where it was read."""

    kind: Kind
    value: str
    place: str

    def __repr__(self) -> str:
        return f"Ask({self.kind}, {self.place})"  # a log line or traceback must not show the value

    def days(self) -> Iterator[str]:
        """Each day of a range as DICOM writes it (DA); a day at a time keeps answers small."""
        first, last = (_day(part) for part in self.value.split("-"))
        for number in range((last - first).days + 1):
            yield (first + timedelta(days=number)).strftime("%Y%m%d")


def ask(kind: Kind, value: str, place: str) -> Ask:
    """One ask, checked. BadStudy with code `bad_ask` names the place, not the value.

    A wildcard (PS3.4 C.2.2.2.4) would fetch what nobody meant.
    """
    value = value.strip()
    if not value or len(value) > _LONGEST_VALUE or re.search(r"[*?\\]", value):
        raise _bad(place, "is empty, longer than 64 characters or holds one of * ? \\")
    if not value.isprintable():
        raise _bad(place, "holds a control character")
    if kind is Kind.STUDY and not re.fullmatch(r"[0-9.]+", value):
        raise _bad(place, "is not a Study Instance UID")
    return Ask(kind, value, place)


def ask_for_dates(text: str) -> Ask:
    """An ask for a range such as 2024-01-01..2024-01-31, 20240101-20240131 or a single day."""
    match = re.fullmatch(r"(\d{4}-?\d\d-?\d\d)(?:(?:\.\.|-|:)(\d{4}-?\d\d-?\d\d))?", text.strip())
    if match is None:
        raise _bad("--dates", "reads 2024-01-01..2024-01-31")
    first, last = (_day((part or match[1]).replace("-", "")) for part in match.groups())
    if not 0 <= (last - first).days < _LONGEST_RANGE_DAYS:
        raise _bad("--dates", "runs backwards or over more than ten years")
    return Ask(Kind.DATES, f"{first:%Y%m%d}-{last:%Y%m%d}", "--dates")


def read_list(text: str, kind: Kind | None, name: str = "") -> list[Ask]:
    """Asks of a list: one value a line, or CSV with a column that says what it holds.

    Without such a column the first field of each line is of `kind`. `name` tells one list from
    another. BadStudy with code `bad_ask` or `bad_list`.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    rows = list(csv.reader(lines, delimiter=_delimiter(lines[0] if lines else "")))
    column, found = _column(rows[0] if rows else [], kind)
    place = f"{name} line " if name else "line "
    start = 0 if found is None else 1
    asks = [
        ask(found or kind or Kind.ACCESSION, _field(row, column), f"{place}{number}")
        for number, row in enumerate(rows[start:], start=start + 1)
        if any(field.strip() for field in row)
    ]
    if not asks:
        raise BadStudy("the list is empty: put one value on each line", code="bad_list")
    return asks


def without_repeats(asks: Iterable[Ask]) -> list[Ask]:
    """Each value once, where it came first."""
    first: dict[tuple[Kind, str], Ask] = {}
    for one in asks:
        first.setdefault((one.kind, one.value), one)
    return list(first.values())


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _column(head: Sequence[str], kind: Kind | None) -> tuple[int, Kind | None]:
    """The column to read and what its title says that it holds."""
    titles = [re.sub(r"[^a-z]", "", field.lower()) for field in head]
    for wanted in (kind,) if kind else (Kind.STUDY, Kind.ACCESSION, Kind.PATIENT):
        for number, title in enumerate(titles):
            if _COLUMNS.get(title) == wanted:
                return number, wanted
    return 0, None


def _field(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 — a calendar day
    except ValueError:
        raise _bad("--dates", "names a day that does not exist") from None


def _bad(place: str, what: str) -> BadStudy:
    return BadStudy(f"{place} {what}: correct it and start again", code="bad_ask")
