"""A question as all doors ask it: at a level, with conditions, for some attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deepbrainprint.database.finding import Sought
from deepbrainprint.intake.finding.attributes import ATTRIBUTES, Attribute, Level, unique_key
from deepbrainprint.intake.finding.matching import conditions


@dataclass(frozen=True)
class Question:
    """What is asked. Its text form shows no value of it."""

    level: Level
    sought: Sought = field(repr=False)
    wanted: frozenset[Attribute] = field(repr=False)
    keys: tuple[str, ...]  # keywords of the attributes that were compared

    @property
    def with_counts(self) -> bool:
        """Whether something wanted has to be counted."""
        return any(attribute.is_counted for attribute in self.wanted)


def question(
    level: Level,
    values: Mapping[Attribute, str],
    wanted: Iterable[Attribute],
    *,
    combined_times: bool,
) -> Question:
    """A question from the values of its keys.

    `combined_times` makes date and time one moment (PS3.4 C.2.2.2.5). What names the things asked
    for is always answered. BadStudy with code `bad_query` when a value is none.
    """
    found: dict[str, object] = {}
    keys = []
    for attribute, value in values.items():
        asked = conditions(attribute, value)
        found |= asked
        keys += [attribute.keyword] if asked else []
    if combined_times:
        _combine(found)
    names = {unique_key(above) for above in Level if level.reaches(above)}
    reachable = {attribute for attribute in wanted if level.reaches(attribute.level)}
    return Question(level, Sought(**found), frozenset(reachable | names), tuple(sorted(keys)))  # type: ignore[arg-type]


def default_attributes(level: Level) -> set[Attribute]:
    """What QIDO-RS answers when nothing more is asked for (PS3.18 §10.6.3.3)."""
    return {found for found in ATTRIBUTES if found.by_default and level.reaches(found.level)}


def _combine(found: dict[str, object]) -> None:
    """Date and time of a study as bounds of one moment; the dates stay, for their index."""
    if "study_date_from" not in found or "study_time_from" not in found:
        return
    first, last = found.pop("study_time_from"), found.pop("study_time_to")
    found["study_moment_from"] = f"{found['study_date_from']}{first}"
    found["study_moment_to"] = f"{found['study_date_to']}{last}"
