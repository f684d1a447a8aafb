"""Looks whether what a sender asks us to answer for is there: row, file, class and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydicom import Dataset

from deepbrainprint.database.commitments import (
    ClaimedCommitment,
    CommitmentItem,
    Outcome,
    commitment_items,
    record_outcomes,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.part10 import read_request
from deepbrainprint.intake.spool import instance_path
from deepbrainprint.settings import Settings

log = structlog.get_logger()

ALL_COMMITTED, SOME_FAILED = 1, 2  # event types, PS3.4 Table J.3-2
_LONGEST_META = 1 << 16  # bytes; what we write before a data set is far shorter
_CHECK_AGAIN_SECONDS = 600.0  # a report that waits for its requester is not for ever true

# Failure Reason (0008,1197), PS3.3 C.14.1.1
_PROCESSING_FAILURE, _NO_SUCH_INSTANCE, _CLASS_CONFLICT = 0x0110, 0x0112, 0x0119
_DUPLICATE_TRANSACTION = 0x0131
_FAILURE_REASONS = {
    Outcome.UNKNOWN: _NO_SUCH_INSTANCE,
    Outcome.FILE_MISSING: _NO_SUCH_INSTANCE,
    Outcome.CLASS_CONFLICT: _CLASS_CONFLICT,
    Outcome.FILE_CHANGED: _PROCESSING_FAILURE,
    Outcome.UNREADABLE: _PROCESSING_FAILURE,
    Outcome.DUPLICATE: _DUPLICATE_TRANSACTION,
}

Checked = list[tuple[CommitmentItem, Outcome]]


def check(settings: Settings, database: Database, claimed: ClaimedCommitment) -> Checked:
    """Read every named file again and say of each whether we answer for it.

    TryAgain when PostgreSQL is away, and with code `journal_waits` while an instance is on disk
    but has no row yet.
    """
    with database.transaction() as connection:
        items = commitment_items(connection, claimed.commitment_id)
    if claimed.duplicate:
        checked = [(item, Outcome.DUPLICATE) for item in items]
    else:
        _require_rows(settings, items)
        checked = [(item, _outcome(settings, claimed, item)) for item in items]
    with database.transaction() as connection:
        outcomes = {item.position: outcome for item, outcome in checked}
        record_outcomes(connection, claimed.commitment_id, outcomes)
    return checked


def event_report(claimed: ClaimedCommitment, checked: Checked) -> tuple[int, Dataset]:
    """Event type and information of the N-EVENT-REPORT (PS3.4 J.3.3)."""
    report = Dataset()
    report.TransactionUID = claimed.transaction_uid
    committed = [_reference(item) for item, outcome in checked if outcome is Outcome.COMMITTED]
    failed = [
        _reference(item, _FAILURE_REASONS[outcome])
        for item, outcome in checked
        if outcome is not Outcome.COMMITTED
    ]
    if committed:
        report.ReferencedSOPSequence = committed
    if failed:
        report.FailedSOPSequence = failed
    return SOME_FAILED if failed else ALL_COMMITTED, report


def _require_rows(settings: Settings, items: Sequence[CommitmentItem]) -> None:
    for item in items:
        name = instance_path(item.sop_instance_uid).stem
        if item.instance_id is None and (settings.journal_folder / name).exists():
            raise TryAgain("the journal is not empty yet", code="journal_waits")


def _outcome(settings: Settings, claimed: ClaimedCommitment, item: CommitmentItem) -> Outcome:
    if item.path is None:
        return Outcome.UNKNOWN
    if item.filed_class_uid != item.sop_class_uid:
        return Outcome.CLASS_CONFLICT
    lately = (claimed.checked_seconds or _CHECK_AGAIN_SECONDS) < _CHECK_AGAIN_SECONDS
    if lately and item.outcome is Outcome.COMMITTED:
        return Outcome.COMMITTED
    outcome = _outcome_of_file(settings.instances_folder / item.path, item)
    if outcome is not Outcome.COMMITTED:
        log.error("stored_object_damaged", instance=item.instance_id, found=outcome.value)
    return outcome


def _outcome_of_file(path: Path, item: CommitmentItem) -> Outcome:
    try:
        with path.open("rb") as file:  # not mapped: a disk that fails would end the process
            request, start = read_request(file.read(_LONGEST_META))
            file.seek(start)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return Outcome.FILE_MISSING
    except BadStudy:
        return Outcome.FILE_CHANGED
    except OSError:
        return Outcome.UNREADABLE
    is_same = (sha256, request.sop_class_uid) == (item.sha256, item.sop_class_uid)
    return Outcome.COMMITTED if is_same else Outcome.FILE_CHANGED


def _reference(item: CommitmentItem, failure_reason: int | None = None) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = item.sop_class_uid
    reference.ReferencedSOPInstanceUID = item.sop_instance_uid
    if failure_reason is not None:
        reference.FailureReason = failure_reason
    return reference
