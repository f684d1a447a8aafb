"""What may be deleted, what was, and how much arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all, fetch_one
from deepbrainprint.records import StudyId


@dataclass(frozen=True)
class OldStudy:
    """A processed study past its time, and what is still kept of it."""

    study_id: StudyId
    processed_at: datetime
    instances: int
    size_bytes: int


@dataclass(frozen=True)
class KeptInstance:
    """An instance whose file is there; `path` in the instances folder."""

    instance_id: int
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class ArrivedBytes:
    """What arrived in the last days."""

    size_bytes: int
    studies: int
    seconds: float  # the window, or since the first study ever when that is less


def old_studies(
    connection: Connection, *, age_seconds: float, limit: int | None = None
) -> list[OldStudy]:
    """Processed studies of which something is kept and nothing is younger, oldest first.

    Processed means: every revision has ended, the newest neither failed nor waits for a person.
    """
    rows = fetch_all(connection, "old_studies", age_seconds=age_seconds, limit=limit)
    return [OldStudy(*row) for row in rows]


def lock_old_study(connection: Connection, study_id: StudyId, *, age_seconds: float) -> bool:
    """Whether a study may still be deleted; if so no image reopens it until commit."""
    row = fetch_one(connection, "lock_old_study", study_id=study_id, age_seconds=age_seconds)
    return row is not None


def lock_kept_instances(
    connection: Connection, study_id: StudyId, *, limit: int
) -> list[KeptInstance]:
    """Some instances of a study whose files are there; no row of them changes until commit."""
    rows = fetch_all(connection, "lock_kept_instances", study_id=study_id, limit=limit)
    return [KeptInstance(number, Path(path), size) for number, path, size in rows]


def mark_deleted(connection: Connection, instance_ids: Sequence[int]) -> None:
    """Their files are gone. Whoever is sent again becomes kept again by that."""
    execute(connection, "mark_deleted", instance_ids=list(instance_ids))


def old_quarantine(
    connection: Connection, *, age_seconds: float, limit: int | None = None
) -> list[int]:
    """Held objects past their time, oldest first."""
    rows = fetch_all(connection, "old_quarantine", age_seconds=age_seconds, limit=limit)
    return [row[0] for row in rows]


def arrived_bytes(connection: Connection, *, window_seconds: float) -> ArrivedBytes:
    """What arrived in the last `window_seconds`."""
    row = fetch_one(connection, "arrived_bytes", window_seconds=window_seconds)
    assert row is not None  # noqa: S101 — an aggregate always gives a row
    return ArrivedBytes(*row)


def newest_processed(connection: Connection, *, limit: int) -> list[StudyId]:
    """Studies that the pipeline was through with last."""
    return [StudyId(row[0]) for row in fetch_all(connection, "newest_processed", limit=limit)]


def kept_bytes_by_day(connection: Connection) -> dict[int, int]:
    """Bytes of the kept instances, by whole days since they were received."""
    return dict(fetch_all(connection, "kept_bytes_by_day"))
