"""What every way of fetching has: find studies, list the instances of one, fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deepbrainprint.intake.pull.asks import Ask, Kind
from deepbrainprint.intake.pull.inbox import Inbox


@dataclass(frozen=True)
class Found:
    """A study that a PACS has; the values are what its answer says, and identity."""

    study_uid: str
    expected: int | None  # instances, (0020,1208); None when the PACS does not say
    modalities: frozenset[str]  # (0008,0061); empty when the PACS does not say
    accession: str = ""
    patient: str = ""
    day: str = ""

    def __repr__(self) -> str:
        return "Found(…)"  # a log line or traceback must not show it


@dataclass(frozen=True)
class Listed:
    """An instance that a PACS has."""

    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""


class Source(Protocol):
    """A PACS. All methods raise TryAgain when it cannot answer now, Misconfigured when it never
    will as things are set.
    """

    name: str  # AE title that what comes is filed under

    def find(self, ask: Ask, modalities: Sequence[str]) -> list[Found]:
        """All that it answers, which may be more than was asked for."""

    def listing(self, study_uid: str) -> list[Listed]:
        """The instances of a study."""

    def fetch(self, study_uid: str, wanted: Sequence[Listed], inbox: Inbox) -> None:
        """Bring instances into `inbox`: those of `wanted`, or the whole study when it is empty.

        What the PACS leaves out is no error here: the caller counts.
        """

    def close(self) -> None:
        """End what is open."""


def matching(found: Iterable[Found], ask: Ask, modalities: Sequence[str]) -> list[Found]:
    """Those that are what was asked for, each study once.

    A PACS that does not know a key answers with all it has; nobody wants that fetched.
    """
    kept = {
        study.study_uid: study
        for study in found
        if study.study_uid and _answers(study, ask) and _is_of(study, ask, modalities)
    }
    return list(kept.values())


def _answers(study: Found, ask: Ask) -> bool:
    if ask.kind is Kind.DATES:
        first, last = ask.value.split("-")
        return first <= study.day.replace(".", "") <= last
    said = {
        Kind.ACCESSION: study.accession,
        Kind.PATIENT: study.patient,
        Kind.STUDY: study.study_uid,
    }[ask.kind]
    return said.strip().casefold() == ask.value.casefold()


def _is_of(study: Found, ask: Ask, modalities: Sequence[str]) -> bool:
    """A patient or a range of dates has studies of other modalities too; a named study is meant."""
    if ask.kind in {Kind.STUDY, Kind.ACCESSION} or not modalities or not study.modalities:
        return True
    return not study.modalities.isdisjoint(modalities)
