"""Storage commitment: what senders asked us to answer for, and what became of each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one

SopReference = tuple[str, str]  # SOP Class UID, SOP Instance UID


class Outcome(StrEnum):
    """What was found of an instance that a sender asked us to answer for."""

    COMMITTED = "committed"
    UNKNOWN = "unknown"  # no row
    CLASS_CONFLICT = "class_conflict"  # filed under another SOP class
    FILE_MISSING = "file_missing"
    FILE_CHANGED = "file_changed"  # its digest is not the one it was filed with
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"  # the request's transaction UID stands for other instances


class CommitmentState(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    REPORTED = "reported"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class CommitmentRequest:
    """What a sender asked (PS3.4 J.3.2)."""

    transaction_uid: str
    requesting_ae: str
    address: str
    references: tuple[SopReference, ...]


@dataclass(frozen=True)
class ClaimedCommitment:
    """A request that one process reports on now."""

    commitment_id: int
    transaction_uid: str
    requesting_ae: str
    address: str
    duplicate: bool
    attempts: int
    age_seconds: float
    checked_seconds: float | None  # since its files were last read


@dataclass(frozen=True)
class CommitmentItem:
    """One instance of a request, beside what is filed under its UID (None: nothing is)."""

    position: int
    sop_class_uid: str
    sop_instance_uid: str
    outcome: Outcome | None  # None: not looked at yet
    instance_id: int | None
    filed_class_uid: str | None
    path: Path | None  # relative to the instances folder
    sha256: str | None


@dataclass(frozen=True)
class CommitmentReport:
    """One line of `deepbrainprint commitment list`."""

    commitment_id: int
    requesting_ae: str
    address: str
    state: str
    requested_at: datetime
    ended_at: datetime | None
    attempts: int
    last_error: str
    instances: int
    committed: int
    failures: list[str] | None


@dataclass(frozen=True)
class CommitmentAddress:
    """Where a requester takes its reports."""

    ae_title: str
    host: str
    port: int
    set_by: str
    set_at: datetime


@dataclass(frozen=True)
class CommitmentCounts:
    """Figures for status and metrics."""

    waiting: int
    given_up: int
    damaged: int  # stored instances that were found changed, missing or unreadable


def record_commitment(
    connection: Connection, request: CommitmentRequest, *, delay_seconds: float = 0.0
) -> int:
    """Take a request down; its id. The report is due after `delay_seconds`.

    The same request again asks for another report; the same transaction UID for other instances
    is recorded apart and will be refused.
    """
    values = {
        "transaction_uid": request.transaction_uid,
        "requesting_ae": request.requesting_ae,
        "address": request.address,
        "delay_seconds": delay_seconds,
    }
    row = fetch_one(connection, "insert_commitment", **values)
    assert row is not None  # noqa: S101 — `returning` always gives a row
    commitment_id, is_new = row
    if not is_new and _references(connection, commitment_id) == set(request.references):
        execute(connection, "ask_again", commitment_id=commitment_id, delay_seconds=delay_seconds)
        return int(commitment_id)
    if not is_new:
        row = fetch_one(connection, "insert_duplicate_commitment", **values)
        assert row is not None  # noqa: S101
        commitment_id = row[0]
    execute(
        connection,
        "insert_commitment_items",
        commitment_id=commitment_id,
        sop_class_uids=[sop_class_uid for sop_class_uid, _ in request.references],
        sop_instance_uids=[sop_instance_uid for _, sop_instance_uid in request.references],
    )
    return int(commitment_id)


def claim_commitment(
    connection: Connection, *, lease_seconds: float, commitment_id: int | None = None
) -> ClaimedCommitment | None:
    """Lease the request that is due, what was tried least first, or the one named, due or not.

    None when there is none. Nobody else claims it before the lease is over.
    """
    row = fetch_one(
        connection, "claim_commitment", lease_seconds=lease_seconds, commitment_id=commitment_id
    )
    return None if row is None else ClaimedCommitment(*row)


def commitment_items(connection: Connection, commitment_id: int) -> list[CommitmentItem]:
    """What a request names, in its order."""
    rows = fetch_all(connection, "commitment_items", commitment_id=commitment_id)
    return [_item(row) for row in rows]


def record_outcomes(
    connection: Connection, commitment_id: int, outcomes: Mapping[int, Outcome]
) -> None:
    """Remember what was found, by position."""
    execute(
        connection,
        "set_outcomes",
        commitment_id=commitment_id,
        positions=list(outcomes),
        outcomes=[outcome.value for outcome in outcomes.values()],
    )
    execute(connection, "set_checked", commitment_id=commitment_id)


def end_commitment(
    connection: Connection, commitment_id: int, state: CommitmentState, *, error: str = ""
) -> None:
    """The request is reported, or given up for a reason."""
    execute(connection, "end_commitment", commitment_id=commitment_id, state=state, error=error)


def postpone_commitment(
    connection: Connection, commitment_id: int, *, delay_seconds: float, error: str = ""
) -> None:
    """Try again after a while; `error` says why, without identity."""
    execute(
        connection,
        "postpone_commitment",
        commitment_id=commitment_id,
        delay_seconds=delay_seconds,
        error=error,
    )


def commitment_address(connection: Connection, ae_title: str) -> tuple[str, int] | None:
    """Host and port where somebody said that a requester takes its reports, or None."""
    row = fetch_one(connection, "commitment_address", ae_title=ae_title)
    return None if row is None else (row[0], row[1])


def commitment_addresses(connection: Connection) -> list[CommitmentAddress]:
    """All of them, by AE title."""
    return [CommitmentAddress(*row) for row in fetch_all(connection, "commitment_addresses")]


def set_commitment_address(
    connection: Connection, ae_title: str, *, host: str, port: int, set_by: str
) -> None:
    """Say where a requester takes its reports; what waits for it is tried at once."""
    execute(
        connection,
        "set_commitment_address",
        ae_title=ae_title,
        host=host,
        port=port,
        set_by=set_by,
    )
    execute(connection, "hasten_commitments", requesting_ae=ae_title)


def commitment_reports(
    connection: Connection, *, state: CommitmentState | None = None, limit: int = 100
) -> list[CommitmentReport]:
    """Requests and what became of them, newest first; a state of None means any."""
    rows = fetch_all(connection, "commitment_reports", state=state, limit=limit)
    return [CommitmentReport(*row) for row in rows]


def commitment_counts(connection: Connection) -> CommitmentCounts:
    """Figures for status and metrics."""
    row = fetch_one(connection, "commitment_counts")
    assert row is not None  # noqa: S101 — an aggregate always gives a row
    return CommitmentCounts(*row)


def _references(connection: Connection, commitment_id: int) -> set[SopReference]:
    items = commitment_items(connection, commitment_id)
    return {(item.sop_class_uid, item.sop_instance_uid) for item in items}


def _item(row: Row) -> CommitmentItem:
    outcome, instance_id, filed_class_uid, path, sha256 = row[3:]
    return CommitmentItem(
        position=row[0],
        sop_class_uid=row[1],
        sop_instance_uid=row[2],
        outcome=None if outcome is None else Outcome(outcome),
        instance_id=instance_id,
        filed_class_uid=filed_class_uid,
        path=None if path is None else Path(path),
        sha256=sha256,
    )
