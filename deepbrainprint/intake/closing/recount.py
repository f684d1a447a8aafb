"""Asks the source how much a study has (C-FIND, PS3.4 Annex C), and says what is not here.

A source that does not answer, does not know the study or does not count says nothing: that is no
evidence, and no error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from deepbrainprint.database.completeness import ImagePlace
from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake.closing.completeness import Finding, series_name
from deepbrainprint.intake.peer import Peer
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_PENDING = frozenset({0xFF00, 0xFF01})
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 10.0
_ASK_AGAIN_SECONDS = 60.0  # a source that does not answer holds up the other studies
_MOST_SERIES = 1_000


@dataclass(frozen=True)
class _Count:
    """What a source says of one series."""

    series_number: int | None
    instances: int


class Recount:
    """The sources of a site. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Misconfigured when DBP_RECOUNT_SOURCES cannot be read."""
        self._sources = sources(settings)
        self._silent_until: dict[Peer, float] = {}

    def compare(
        self, calling_ae: str, study_uid: str, places: Sequence[ImagePlace]
    ) -> list[Finding] | None:
        """What the source has and we have not; None when no source says anything."""
        peer = self._sources.get(calling_ae)
        if peer is None or time.monotonic() < self._silent_until.get(peer, 0.0):
            return None
        counts = _answer(peer, study_uid)
        if counts is None:
            self._silent_until[peer] = time.monotonic() + _ASK_AGAIN_SECONDS
            log.warning("source_silent", source=str(peer))
        return _missing(counts, places) if counts else None


def sources(settings: Settings) -> dict[str, Peer]:
    """The PACS to ask, by calling AE title. Misconfigured when the setting cannot be read."""
    parts = [part.strip() for part in settings.recount_sources.split(",")]
    return dict(_source(part, settings) for part in parts if part)


def _source(text: str, settings: Settings) -> tuple[str, Peer]:
    match = re.fullmatch(r"([^=@:]{1,16})=(?:([^=@:]{1,16})@)?([^=@]+):(\d{1,5})", text)
    if match is None or not 0 < int(match[4]) < 2**16:
        raise Misconfigured(
            "DBP_RECOUNT_SOURCES: write AE=host:port or AE=CALLED_AE@host:port, "
            "separated by commas",
            code="invalid_setting",
        )
    calling, called = match[1].strip(), match[2] or match[1]
    peer = Peer(
        host=match[3],
        port=int(match[4]),
        called_ae=called.strip(),
        calling_ae=settings.ae_title,
        connect_seconds=_CONNECT_SECONDS,
        answer_seconds=_ANSWER_SECONDS,
    )
    return calling, peer


def _missing(counts: Mapping[str, _Count], places: Sequence[ImagePlace]) -> list[Finding]:
    here: dict[str, int] = {}
    for place in places:
        here[place.series_uid] = here.get(place.series_uid, 0) + 1
    return [
        Finding(
            "source_has_more",
            f"the source has {count.instances} instances of {series_name(count.series_number)}, "
            f"{here.get(uid, 0)} are here",
        )
        for uid, count in sorted(counts.items(), key=lambda item: item[1].series_number or 0)
        if count.instances > here.get(uid, 0)
    ]


def _answer(peer: Peer, study_uid: str) -> dict[str, _Count] | None:
    """As `_counts`; an impossible address or a broken conversation is no answer either."""
    try:
        return _counts(peer, study_uid)
    except (Misconfigured, RuntimeError, ValueError):
        return None


def _counts(peer: Peer, study_uid: str) -> dict[str, _Count] | None:
    """Instances by series; empty when the source cannot say, None when it does not answer."""
    with _association(peer) as association:
        if association is None:
            return None
        answers = _find(association, _series_question(study_uid))
        if answers is None:
            return None
        counts = {}
        for answer in answers[:_MOST_SERIES]:
            uid = str(answer.get("SeriesInstanceUID", ""))
            count = _count_of(association, study_uid, answer)
            if not uid or count is None:
                return {}
            counts[uid] = _Count(_number(answer.get("SeriesNumber")), count)
        return counts


def _count_of(association: Association, study_uid: str, answer: Dataset) -> int | None:
    """What the source counts (0020,1209), which it may leave out; then we count its images."""
    told = _number(answer.get("NumberOfSeriesRelatedInstances"))
    if told is not None:
        return told
    images = _find(association, _image_question(study_uid, answer.get("SeriesInstanceUID", "")))
    return None if images is None else len(images)


def _series_question(study_uid: str) -> Dataset:
    question = Dataset()
    question.QueryRetrieveLevel = "SERIES"
    question.StudyInstanceUID = study_uid
    question.SeriesInstanceUID = ""
    question.SeriesNumber = None
    question.NumberOfSeriesRelatedInstances = None
    return question


def _image_question(study_uid: str, series_uid: str) -> Dataset:
    question = Dataset()
    question.QueryRetrieveLevel = "IMAGE"
    question.StudyInstanceUID = study_uid
    question.SeriesInstanceUID = series_uid
    question.SOPInstanceUID = ""
    return question


def _find(association: Association, question: Dataset) -> list[Dataset] | None:
    """All answers, or None when they did not come to their end."""
    found = []
    if not association.is_established:
        return None
    for status, answer in association.send_c_find(
        question, StudyRootQueryRetrieveInformationModelFind
    ):
        code = status.get("Status")
        if code in _PENDING and answer is not None:
            found.append(answer)
        elif code != 0x0000:
            return None
    return found


@contextmanager
def _association(peer: Peer) -> Iterator[Association | None]:
    association = peer.associate([build_context(StudyRootQueryRetrieveInformationModelFind)])
    try:
        yield association if association.is_established else None
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()


def _number(value: object) -> int | None:
    try:
        return None if value is None else int(str(value))
    except ValueError:
        return None
