"""Reads the parameters of QIDO-RS (DICOM PS3.18 §8.3.4, §10.6) and writes its answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.finding.answers import answer
from deepbrainprint.intake.finding.attributes import (
    ATTRIBUTES,
    Attribute,
    Level,
    Matching,
    attributes_by_tag,
    unique_key,
)
from deepbrainprint.intake.finding.matching import bad_query
from deepbrainprint.intake.finding.question import Question, default_attributes, question
from deepbrainprint.intake.finding.search import search
from deepbrainprint.intake.header import is_valid_uid

MEDIA_TYPE = "application/dicom+json"

_NO_FUZZY = (
    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
)
_MORE = (
    "The number of results exceeded the maximum supported by the server. "
    "Additional results can be requested."
)


@dataclass(frozen=True)
class Search:
    """A request as it was understood."""

    question: Question
    limit: int | None
    offset: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SearchResult:
    """The answers as DICOM JSON, and what the client should know of them."""

    body: bytes = field(repr=False)
    count: int
    warnings: tuple[str, ...]


@dataclass
class _Reading:
    """The parameters read so far."""

    level: Level
    values: dict[Attribute, str] = field(default_factory=dict)
    wanted: set[Attribute] = field(default_factory=set)
    options: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, value: str) -> None:
        if name == "includefield":
            for part in value.split(","):
                self._include(part.strip())
        elif name in {"limit", "offset", "fuzzymatching"}:
            self._once(name in self.options, name)
            self.options[name] = value
        else:
            self._match(name, value)

    def _include(self, name: str) -> None:
        if name == "all":
            self.wanted |= set(ATTRIBUTES)
            return
        known = attributes_by_tag().get(_tag(name))
        if known is not None:  # others are left out, as PS3.18 §8.3.4.3 has it
            self.wanted.add(known)

    def _match(self, name: str, value: str) -> None:
        """A filter that we cannot apply is refused: without it the answers would be others."""
        attribute = attributes_by_tag().get(_tag(name))
        if (
            attribute is None
            or not self.level.reaches(attribute.level)
            or (attribute.matching is Matching.NONE and value)
        ):
            raise bad_query(f"{_shown(name)} cannot be searched for here: leave it out")
        self._once(attribute in self.values, attribute.keyword)
        self.values[attribute] = value
        self.wanted.add(attribute)

    def _once(self, again: bool, name: str) -> None:  # noqa: FBT001 — a guard of two words
        if again:
            raise bad_query(f"{name} is given more than once: give it once")


def read_search(
    level: Level, parameters: Iterable[tuple[str, str]], within: Mapping[Level, str]
) -> Search:
    """Understand a request; `within` holds the UIDs of its path by their level.

    BadStudy with code `bad_query` names the parameter that is wrong.
    """
    reading = _Reading(level, wanted=default_attributes(level))
    for above, uid in within.items():
        if not is_valid_uid(uid):
            raise bad_query(f"the path names no {unique_key(above).keyword}: correct it")
        reading.values[unique_key(above)] = uid
    for name, value in parameters:
        reading.take(name, value)
    options = reading.options
    fuzzy = options.get("fuzzymatching", "false")
    if fuzzy not in {"true", "false"}:
        raise bad_query("fuzzymatching is neither true nor false")
    return Search(
        question(level, reading.values, reading.wanted, combined_times=True),
        limit=_count("limit", options["limit"]) if "limit" in options else None,
        offset=_count("offset", options.get("offset", "0")),
        warnings=(_NO_FUZZY,) if fuzzy == "true" else (),
    )


def run_search(database: Database, asked: Search, *, most: int) -> SearchResult:
    """Answer it with at most `most` results. TryAgain when PostgreSQL does not answer."""
    limit = most if asked.limit is None else min(asked.limit, most)
    asks_for_more = asked.limit is None or asked.limit > most
    found = search(database, asked.question, most=limit + asks_for_more, offset=asked.offset)
    answers = [
        answer(one, asked.question.wanted, with_availability=True).to_json_dict()
        for one in islice(found, limit)
    ]
    there_is_more = asks_for_more and next(found, None) is not None
    return SearchResult(
        json.dumps(answers, ensure_ascii=False).encode("utf-8", "replace"),
        len(answers),
        (*asked.warnings, _MORE) if there_is_more else asked.warnings,
    )


def _tag(name: str) -> int:
    """The tag of an attribute by keyword, or by eight hexadecimal digits."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name, re.ASCII):
        tag: int | None = int(name, 16)
        tag = tag if dictionary_has_tag(int(name, 16)) else None
    elif re.fullmatch(r"\w+(\.\w+)+", name, re.ASCII):
        raise bad_query(f"{_shown(name)} lies in a sequence, which cannot be searched")
    else:
        tag = tag_for_keyword(name)
    if tag is None:
        raise bad_query(f"{_shown(name)} is neither a parameter nor a DICOM attribute: correct it")
    return tag


def _shown(name: str) -> str:
    """A parameter's name as an error may show it: a keyword, a tag, or nothing of it."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name, re.ASCII):
        return keyword_for_tag(int(name, 16)) or name
    return name if re.fullmatch(r"[A-Za-z0-9.]{1,80}", name, re.ASCII) else "a parameter"


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise bad_query(f"{name} is no whole number from 0 on")
    return int(value)
