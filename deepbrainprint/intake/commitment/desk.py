"""Storage commitment (DICOM PS3.4 Annex J): takes the requests of senders to answer for instances.

A request is durable before it is answered; the report is `commitment_report`'s.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from pydicom import Dataset
from pynetdicom import evt

from deepbrainprint.database.commitments import (
    CommitmentRequest,
    SopReference,
    record_commitment,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.commitment.report import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    CommitmentReporter,
)
from deepbrainprint.intake.header import is_valid_uid
from deepbrainprint.intake.logs import place_of

log = structlog.get_logger()

# PS3.7 Annex C
_SUCCESS, _PROCESSING_FAILURE = 0x0000, 0x0110
_NO_SUCH_INSTANCE, _INVALID_ARGUMENT, _NO_SUCH_CLASS = 0x0112, 0x0115, 0x0118
_NO_SUCH_ACTION, _RESOURCE_LIMITATION = 0x0123, 0x0213
_STATUSES = {
    "no_such_instance": _NO_SUCH_INSTANCE,
    "no_such_class": _NO_SUCH_CLASS,
    "no_such_action": _NO_SUCH_ACTION,
    "invalid_argument": _INVALID_ARGUMENT,
}

_REQUEST_COMMITMENT = 1  # action type, PS3.4 Table J.3-1
_PATIENCE_SECONDS = 1.0  # in which the report may go out on the request's own association
_LONGEST_UID = 256  # what is no UID is still reported on, to this length

_Answer = tuple[Dataset, None]  # status, and no action reply


class CommitmentDesk:
    """EVT_N_ACTION of one process. Thread-safe."""

    def __init__(self, database: Database, reporter: CommitmentReporter) -> None:
        self._database = database
        self._reporter = reporter
        self._unreported: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()

    def handler(self, event: evt.Event) -> _Answer:
        """The answer to an N-ACTION: 0x0000 once the request is durable.

        0x0213 while PostgreSQL is away: nothing is kept then, and the requester asks again.
        """
        try:
            request = _request(event)
            self._take(event.assoc, request)
        except BadStudy as error:
            log.warning("commitment_refused", code=error.code, reason=str(error))
            return _status(_STATUSES[error.code], error)
        except TryAgain as error:
            log.warning("commitment_refused", code=error.code, reason=str(error))
            return _status(_RESOURCE_LIMITATION, error)
        except Exception as error:  # noqa: BLE001 — a request must not end an association
            log.error("commitment_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            return _status(_PROCESSING_FAILURE)
        return _status(_SUCCESS)

    def _take(self, association: Any, request: CommitmentRequest) -> None:
        stays = hasattr(association, "call_soon") and hasattr(association, "is_quiet")
        with self._database.transaction() as connection:
            commitment_id = record_commitment(
                connection, request, delay_seconds=_PATIENCE_SECONDS if stays else 0.0
            )
        log.info(
            "commitment_requested",
            commitment=commitment_id,
            ae=request.requesting_ae,
            instances=len(request.references),
        )
        if stays:
            unreported = self._unreported.setdefault(association, [])
            unreported.append(commitment_id)
            association.call_soon(
                partial(self._reporter.report_on_association, association, unreported)
            )
        else:
            self._reporter.wake()


def _request(event: evt.Event) -> CommitmentRequest:
    request: Any = event.request
    if str(request.RequestedSOPClassUID) != PUSH_MODEL:
        raise _refused("this class knows no action here", "no_such_class")
    if str(request.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
        raise _refused("ask the well-known instance 1.2.840.10008.1.20.1.1", "no_such_instance")
    if request.ActionTypeID != _REQUEST_COMMITMENT:
        raise _refused("only action type 1 is known", "no_such_action")
    transaction_uid, references = _information(event)
    if not is_valid_uid(transaction_uid):
        raise _refused("Transaction UID (0008,1195) is missing or no UID", "invalid_argument")
    if not references:
        raise _refused("Referenced SOP Sequence (0008,1199) is empty", "invalid_argument")
    return CommitmentRequest(
        transaction_uid=transaction_uid,
        requesting_ae=_calling_ae(event.assoc),
        address=_address(event.assoc),
        references=references,
    )


def _information(event: evt.Event) -> tuple[str, tuple[SopReference, ...]]:
    """Transaction UID, and each named instance once."""
    try:
        information = event.action_information
        transaction_uid = str(information.get("TransactionUID", ""))
        items = [_reference(item) for item in information.get("ReferencedSOPSequence") or []]
    except BadStudy:
        raise
    except Exception:  # noqa: BLE001 — pydicom's decoders raise whatever a bad byte leads them to
        raise _refused("the action information cannot be read", "invalid_argument") from None
    return transaction_uid, tuple(dict.fromkeys(items))


def _reference(item: Dataset) -> SopReference:
    sop_class_uid = str(item.get("ReferencedSOPClassUID", ""))
    sop_instance_uid = str(item.get("ReferencedSOPInstanceUID", ""))
    for text in (sop_class_uid, sop_instance_uid):
        if not (text.isascii() and text.isprintable() and 0 < len(text) <= _LONGEST_UID):
            raise _refused("a referenced instance lacks class or UID", "invalid_argument")
    return sop_class_uid, sop_instance_uid


def _calling_ae(association: Any) -> str:
    return str(association.requestor.primitive.calling_ae_title).strip()


def _address(association: Any) -> str:
    """Address of the peer; our own associations keep it with their story."""
    story = getattr(association, "story", None)
    return str(association.requestor.address if story is None else story.address)


def _refused(words: str, code: str) -> BadStudy:
    return BadStudy(words, code=code)


def _status(number: int, error: Exception | None = None) -> _Answer:
    status = Dataset()
    status.Status = number
    if error is not None:
        status.ErrorComment = str(error)[:64]  # PS3.7 Annex C: LO, 64 characters
    return status, None
