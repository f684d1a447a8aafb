"""Objects that were kept aside, and what people decided of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one


class HeldState(StrEnum):
    """Where a kept object stands."""

    HELD = "held"
    RELEASED = "released"  # filed after all
    DISCARDED = "discarded"


@dataclass(frozen=True)
class HeldObject:
    """One object that was kept aside; `path` is relative to the quarantine folder."""

    quarantine_id: int
    state: HeldState
    reason_code: str
    reason: str
    path: Path
    size_bytes: int
    sha256: str
    calling_ae: str
    received_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    note: str


@dataclass(frozen=True)
class FiledInstance:
    """What is filed under a SOP Instance UID; `path` is relative to the instances folder."""

    instance_id: int
    study_id: int
    path: Path
    size_bytes: int
    sha256: str
    received_at: datetime


def record_quarantine(  # noqa: PLR0913 — one argument per column
    connection: Connection,
    *,
    reason_code: str,
    reason: str,
    path: Path,
    size_bytes: int,
    sha256: str,
    calling_ae: str,
) -> bool:
    """Record an object that was kept aside; False when it is held already.

    `path` is relative to the quarantine folder. An object that was let go is held anew.
    """
    inserted = execute(
        connection,
        "insert_quarantine",
        reason_code=reason_code,
        reason=reason,
        path=str(path),
        size_bytes=size_bytes,
        sha256=sha256,
        calling_ae=calling_ae,
    )
    return inserted > 0


def held_objects(
    connection: Connection,
    *,
    state: HeldState | None = HeldState.HELD,
    reason_code: str | None = None,
    calling_ae: str | None = None,
    limit: int | None = None,
) -> list[HeldObject]:
    """Kept objects, newest first; None means any, and for `limit` all."""
    rows = fetch_all(
        connection,
        "held_objects",
        state=state,
        reason_code=reason_code,
        calling_ae=calling_ae,
        limit=limit,
    )
    return [_held(row) for row in rows]


def held_object(connection: Connection, quarantine_id: int) -> HeldObject | None:
    """One kept object, or None."""
    row = fetch_one(connection, "held_object", quarantine_id=quarantine_id)
    return None if row is None else _held(row)


def lock_held_object(connection: Connection, quarantine_id: int) -> HeldState | None:
    """Where a kept object stands; nobody else decides of it until commit."""
    row = fetch_one(connection, "lock_held_object", quarantine_id=quarantine_id)
    return None if row is None else HeldState(row[0])


def decide_held_object(
    connection: Connection, quarantine_id: int, state: HeldState, *, decided_by: str, note: str
) -> bool:
    """Let a held object go; False when it is held no more."""
    touched = execute(
        connection,
        "decide_held_object",
        quarantine_id=quarantine_id,
        state=state,
        decided_by=decided_by,
        note=note,
    )
    return touched > 0


def set_held_reason(
    connection: Connection, quarantine_id: int, *, reason_code: str, reason: str
) -> None:
    """Another reason was found why a held object cannot be filed."""
    execute(
        connection,
        "set_held_reason",
        quarantine_id=quarantine_id,
        reason_code=reason_code,
        reason=reason,
    )


def lock_decided_object(connection: Connection, quarantine_id: int) -> Path | None:
    """Path of an object that was let go and whose file may still be there; locked until commit."""
    row = fetch_one(connection, "lock_decided_object", quarantine_id=quarantine_id)
    return None if row is None else Path(row[0])


def mark_removed(connection: Connection, quarantine_id: int) -> None:
    """The file of an object that was let go is gone."""
    execute(connection, "mark_removed", quarantine_id=quarantine_id)


def unremoved_objects(connection: Connection) -> list[int]:
    """Objects that were let go and whose files a stop left behind."""
    return [row[0] for row in fetch_all(connection, "unremoved_objects")]


def held_counts(connection: Connection) -> dict[str, int]:
    """How many objects are held, by reason code."""
    return dict(fetch_all(connection, "held_counts"))


def filed_instance(connection: Connection, sop_instance_uid: str) -> FiledInstance | None:
    """What is filed under a SOP Instance UID, or None."""
    row = fetch_one(connection, "filed_instance", sop_instance_uid=sop_instance_uid)
    if row is None:
        return None
    instance_id, study_id, path, size_bytes, sha256, received_at = row
    return FiledInstance(instance_id, study_id, Path(path), size_bytes, sha256, received_at)


def _held(row: Row) -> HeldObject:
    quarantine_id, state, reason_code, reason, path, *rest = row
    return HeldObject(quarantine_id, HeldState(state), reason_code, reason, Path(path), *rest)
