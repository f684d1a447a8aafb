"""Asks a PACS by C-FIND (PS3.4 C.4.1), Study Root, one association for many questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.pull.asks import Ask, Kind
from deepbrainprint.intake.pull.association import (
    association,
    broke_off,
    refused_with,
    require_context,
    status_of,
)
from deepbrainprint.intake.pull.identifiers import found_in, identifier, listed_in, text
from deepbrainprint.intake.pull.source import Found, Listed

FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model
_PENDING = frozenset({0xFF00, 0xFF01})
_KEYS = {
    Kind.ACCESSION: "AccessionNumber",
    Kind.PATIENT: "PatientID",
    Kind.STUDY: "StudyInstanceUID",
}
_ASKED_FOR = (
    "StudyInstanceUID",
    "StudyDate",
    "AccessionNumber",
    "PatientID",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)


class Query:
    """Questions to one PACS; not to be shared between threads."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._open = ExitStack()
        self._linked: Association | None = None

    def studies(self, ask: Ask, modalities: Sequence[str]) -> list[Found]:
        """What the PACS has for an ask; a range of dates is asked for day by day."""
        return [
            found_in(answer)
            for keys in _questions(ask, modalities)
            for answer in self._answers(
                identifier("STUDY", **{**dict.fromkeys(_ASKED_FOR, ""), **keys})
            )
        ]

    def instances(self, study_uid: str) -> list[Listed]:
        """The instances of a study, series by series."""
        asked = identifier("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="")
        series = [text(answer, "SeriesInstanceUID") for answer in self._answers(asked)]
        return [listed for uid in filter(None, series) for listed in self._of(study_uid, uid)]

    def close(self) -> None:
        """End the association."""
        self._linked = None
        self._open.close()

    def _of(self, study_uid: str, series_uid: str) -> list[Listed]:
        asked = identifier(
            "IMAGE",
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=series_uid,
            SOPInstanceUID="",
            SOPClassUID="",
        )
        return [listed_in(answer, series_uid) for answer in self._answers(asked)]

    def _answers(self, asked: Dataset) -> list[Dataset]:
        try:
            return list(self._ask(asked))
        except DeepBrainPrintError:
            self.close()
            raise

    def _ask(self, asked: Dataset) -> Iterator[Dataset]:
        for response, answer in self._association().send_c_find(asked, FIND):
            status = status_of(response, self._peer)
            if status in _PENDING:
                if answer is None:  # it cannot be read
                    raise broke_off(self._peer)
                yield answer
            elif status:
                raise refused_with(self._peer, "C-FIND", status)

    def _association(self) -> Association:
        if self._linked is None or not self._linked.is_established:
            self.close()
            self._linked = self._open.enter_context(association(self._peer, [build_context(FIND)]))
            require_context(self._linked, self._peer, FIND, "C-FIND")
        return self._linked


def _questions(ask: Ask, modalities: Sequence[str]) -> Iterator[dict[str, str]]:
    """Keys to match; a modality at a time, for it cannot be matched against a list."""
    if ask.kind in {Kind.ACCESSION, Kind.STUDY}:
        yield {_KEYS[ask.kind]: ask.value}
        return
    for modality in modalities or ("",):
        if ask.kind is Kind.PATIENT:
            yield {"PatientID": ask.value, "ModalitiesInStudy": modality}
            continue
        for day in ask.days():
            yield {"StudyDate": day, "ModalitiesInStudy": modality}
