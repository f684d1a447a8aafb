"""One C-STORE from its request to the status of its answer (DICOM PS3.4 Annex B)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.errors import BadStudy, DeepBrainPrintError
from deepbrainprint.intake.admission import NOT_AUTHORISED
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.spool import Incoming

log = structlog.get_logger()

# PS3.4 Table B.2-1. The low digits of 0xCxxx are ours to choose; 0xC211 is what pynetdicom uses.
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 Annex C
PROCESSING_FAILURE = 0xC211

UNKNOWN_SENDER = "unknown_sender"
_MISMATCHES = frozenset({"uid_mismatch", "class_mismatch"})


@dataclass(frozen=True)
class StoreAnswer:
    """What the sender is told."""

    status: int
    arrival: Arrival | None = None  # None when it was refused
    code: str = ""
    size_bytes: int = 0

    @property
    def comment(self) -> str:
        """The code as words for (0000,0902) Error Comment."""
        return self.code.replace("_", " ")


class StoreOperation:
    """Takes the data set of one instance as it comes. No exception but that of the socket gets out.

    Once something has gone wrong the rest is read and forgotten, so that the association lives on.
    `quarantine_why` sends the object to quarantine whatever it is.
    """

    def __init__(
        self, filing: Filing, request: Request, *, quarantine_why: BadStudy | None = None
    ) -> None:
        self._filing = filing
        self._incoming: Incoming | None = None
        self._trouble: StoreAnswer | None = None
        self._quarantine_why = quarantine_why
        self._size = 0
        try:
            self._incoming = filing.begin(request)
        except Exception as error:  # noqa: BLE001 — one object must not end an association
            self._fail(error)

    def refuse(self, answer: StoreAnswer) -> None:
        """Take nothing of it."""
        self._trouble = self._trouble or answer

    def take(self, parts: Iterable[memoryview]) -> None:
        """Write what comes; errors of `parts` itself pass through."""
        for part in parts:
            self._size += len(part)
            if self._trouble is None and self._incoming is not None:
                try:
                    self._incoming.write(part)
                except Exception as error:  # noqa: BLE001
                    self._fail(error)

    def finish(self, *, has_data_set: bool) -> StoreAnswer:
        """File it, and say what to answer."""
        if self._trouble is None and not has_data_set:
            self._trouble = StoreAnswer(CANNOT_UNDERSTAND, code="no_data_set")
        if self._trouble is None and self._incoming is not None:
            try:
                return StoreAnswer(SUCCESS, self._filed(self._incoming), size_bytes=self._size)
            except Exception as error:  # noqa: BLE001
                self._fail(error)
        return self._trouble or StoreAnswer(PROCESSING_FAILURE, code="processing_failure")

    def close(self) -> None:
        """Let go of a file that was not filed."""
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    def _filed(self, incoming: Incoming) -> Arrival:
        if self._quarantine_why is None:
            return self._filing.finish(incoming)
        self._filing.set_aside(incoming, self._quarantine_why)
        raise self._quarantine_why

    def _fail(self, error: Exception) -> None:
        if isinstance(error, DeepBrainPrintError):
            log.warning("instance_refused", code=error.code, reason=str(error))
            self._trouble = StoreAnswer(status_of(error), code=error.code)
        else:
            log.error("store_failed", error=type(error).__name__, place=place_of(error))
            self._trouble = StoreAnswer(PROCESSING_FAILURE, code="processing_failure")


def status_of(error: DeepBrainPrintError) -> int:
    """The C-STORE status that tells a sender what to do about an error."""
    if error.code == UNKNOWN_SENDER:
        return NOT_AUTHORISED
    if error.code in _MISMATCHES:
        return DATA_SET_DOES_NOT_MATCH
    return CANNOT_UNDERSTAND if isinstance(error, BadStudy) else OUT_OF_RESOURCES
