"""Answers C-FIND of the Study Root (DICOM PS3.4 Annex C) over what was received."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import structlog
from pydicom import Dataset, config
from pynetdicom import _config, evt

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, DeepBrainPrintError
from deepbrainprint.intake.finding.answers import answer
from deepbrainprint.intake.finding.audit import record_query
from deepbrainprint.intake.finding.identifier import Identifier, read_identifier
from deepbrainprint.intake.finding.search import search
from deepbrainprint.intake.logs import place_of
from deepbrainprint.settings import Settings

log = structlog.get_logger()

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"

# PS3.4 Table C.4-1
PENDING = 0xFF00
PENDING_KEYS_UNSUPPORTED = 0xFF01
CANCELLED = 0xFE00
OUT_OF_RESOURCES = 0xA700
IDENTIFIER_DOES_NOT_MATCH = 0xA900
UNABLE_TO_PROCESS = 0xC000

_NEGOTIABLE = b"\x01\x01"  # PS3.4 C.5.1.1: relational queries, date and time combined
_COMMENT = 64  # PS3.7 Annex C: characters of an error comment

_Response = tuple[Dataset | int, Dataset | None]


class FindScp:
    """The handlers of C-FIND; bind `find` to EVT_C_FIND and `negotiate` to EVT_SOP_EXTENDED."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        _config.LOG_REQUEST_IDENTIFIERS = False  # they say who is asked for
        _config.LOG_RESPONSE_IDENTIFIERS = False
        config.settings.reading_validation_mode = config.IGNORE  # its warnings quote the values

    def negotiate(self, event: evt.Event) -> dict[str, bytes]:
        """What of a sender's extended negotiation we support (PS3.7 D.3.3.5)."""
        asked: dict[str, bytes] = cast("Any", event).app_info
        ours = int.from_bytes(_NEGOTIABLE)
        return {
            uid: (int.from_bytes(items[:2].ljust(2, b"\0")) & ours).to_bytes(2)
            for uid, items in asked.items()
            if uid == STUDY_ROOT_FIND
        }

    def find(self, event: evt.Event) -> Iterator[_Response]:
        """Each answer as it is found, then at most one other status; never an exception."""
        told, request = 0, None
        try:
            request = _understood(event)
            for response in self._responses(event, request):
                told += response[1] is not None
                yield response
        except DeepBrainPrintError as error:
            log.warning("query_refused", ae=_calling_ae(event), code=error.code, reason=str(error))
            yield _failure(_status_of(error), str(error)), None
        except Exception as error:  # noqa: BLE001 — one question must not end an association
            log.error("query_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            yield _failure(UNABLE_TO_PROCESS, "processing failure"), None
        finally:  # a peer that goes away has read what came until then
            self._record(event, request, told)

    def _record(self, event: evt.Event, request: Identifier | None, told: int) -> None:
        if request is None:
            return
        actor = f"ae:{_calling_ae(event)}"
        try:
            record_query(self._database, request.question, actor=actor, answers=told)
        except DeepBrainPrintError as error:
            log.warning("query_not_recorded", actor=actor, code=error.code)

    def _responses(self, event: evt.Event, request: Identifier) -> Iterator[_Response]:
        status = PENDING if request.all_supported else PENDING_KEYS_UNSUPPORTED
        most = self._settings.most_answers
        question = request.question
        for number, found in enumerate(search(self._database, question, most=most + 1)):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            if number == most:
                yield _failure(OUT_OF_RESOURCES, f"more than {most} matches: ask for less"), None
                return
            data_set = answer(found, question.wanted, with_availability=request.with_availability)
            data_set.QueryRetrieveLevel = str(question.level)
            yield status, data_set


def _understood(event: evt.Event) -> Identifier:
    options = cast("dict[str, bytes]", event.assoc.acceptor.sop_class_extended)
    negotiated = options.get(STUDY_ROOT_FIND, b"").ljust(2, b"\0")
    try:
        data_set = event.identifier
    except Exception:  # noqa: BLE001 — whatever pydicom makes of bytes that are no data set
        raise BadStudy("the identifier cannot be read", code="bad_query") from None
    return read_identifier(
        data_set, relational=bool(negotiated[0]), combined_times=bool(negotiated[1])
    )


def _calling_ae(event: evt.Event) -> Any:
    return event.assoc.requestor.ae_title


def _status_of(error: DeepBrainPrintError) -> int:
    return IDENTIFIER_DOES_NOT_MATCH if isinstance(error, BadStudy) else OUT_OF_RESOURCES


def _failure(status: int, comment: str) -> Dataset:
    response = Dataset()
    response.Status = status
    response.ErrorComment = comment[:_COMMENT]
    return response
