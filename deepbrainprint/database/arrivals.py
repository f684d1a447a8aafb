"""What intake writes and reads: studies, revisions, instances, identity, outbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one
from deepbrainprint.records import HeaderIdentity, Instance, StudyId, StudyRevision


class Arrival(StrEnum):
    """What became of an instance that arrived."""

    NEW = "new"
    REPEAT = "repeat"  # the same bytes again: harmless
    CONFLICT = "conflict"  # other bytes under a known UID: must be kept aside


@dataclass(frozen=True)
class Filed:
    """What became of an instance, and the revision that it belongs to."""

    arrival: Arrival
    revision: StudyRevision


@dataclass(frozen=True)
class OpenRun:
    """A run that Airflow has and that has not ended."""

    revision: StudyRevision
    age_seconds: float


def record_arrivals(
    connection: Connection, batch: Sequence[tuple[Instance, HeaderIdentity]]
) -> list[Filed]:
    """File instances that are durable on disk, opening revisions where needed; all or none.

    The answers come in the order of `batch`. A study's row is locked until commit, so a study
    cannot close around an instance. Conflict when another transaction filed one of the UIDs
    meanwhile: roll back and call again.
    """
    document = json.dumps(
        [_arrival_values(number, *arrival) for number, arrival in enumerate(batch)],
        ensure_ascii=False,
    )
    return [
        Filed(Arrival(arrival), StudyRevision(StudyId(study_id), revision))
        for _, arrival, study_id, revision in fetch_all(
            connection, "record_arrivals", batch=document
        )
    ]


def is_answering(connection: Connection) -> bool:
    """Whether PostgreSQL answers; it raises TryAgain otherwise."""
    return fetch_one(connection, "is_answering") is not None


def _arrival_values(number: int, instance: Instance, identity: HeaderIdentity) -> dict[str, object]:
    values = {**vars(instance), **vars(instance.facts), **vars(identity)}
    values |= {"ordinal": number, "path": str(instance.path)}
    del values["facts"]
    return values


def claim_outbox(
    connection: Connection, *, maximum_open_runs: int, lease_seconds: float
) -> list[StudyRevision]:
    """Lease waiting revisions, oldest first, so that at most `maximum_open_runs` are open.

    Claims queue up behind one another, so that two dispatchers together keep to the cap.
    """
    fetch_one(connection, "lock_outbox")
    return _runs(
        fetch_all(
            connection,
            "claim_outbox",
            maximum_open_runs=maximum_open_runs,
            lease_seconds=lease_seconds,
        )
    )


def mark_dispatched(connection: Connection, run: StudyRevision) -> None:
    """Airflow has the run."""
    execute(connection, "mark_dispatched", study_id=run.study_id, revision=run.revision)


def mark_dispatch_failed(
    connection: Connection,
    run: StudyRevision,
    *,
    error: str,
    retry_seconds: float,
    longest_seconds: float,
) -> None:
    """Airflow did not take the run; `error` says why, without identity.

    The next attempt waits `retry_seconds`, twice as long after each failure, to a bound.
    """
    execute(
        connection,
        "mark_dispatch_failed",
        study_id=run.study_id,
        revision=run.revision,
        error=error,
        retry_seconds=retry_seconds,
        longest_seconds=longest_seconds,
    )


def requeue(connection: Connection, run: StudyRevision) -> bool:
    """Put an open run that Airflow has lost back into the outbox; False when it is not open."""
    row = fetch_one(connection, "requeue", study_id=run.study_id, revision=run.revision)
    return row is not None


def open_runs(connection: Connection) -> list[OpenRun]:
    """Runs that Airflow has and that have not ended, oldest first."""
    return [
        OpenRun(StudyRevision(study_id, revision), age)
        for study_id, revision, age in fetch_all(connection, "open_runs")
    ]


def study_by_uid(connection: Connection, study_uid: str) -> StudyId | None:
    """Our id of a Study Instance UID, or None."""
    row = fetch_one(connection, "study_by_uid", study_uid=study_uid)
    return None if row is None else StudyId(row[0])


def instance_paths(connection: Connection, run: StudyRevision) -> list[Path]:
    """Files of a study up to and including a revision, relative to the instances folder.

    Those that retention has deleted are left out.
    """
    rows = fetch_all(connection, "instance_paths", study_id=run.study_id, revision=run.revision)
    return [Path(row[0]) for row in rows]


def unknown_paths(connection: Connection, paths: list[Path]) -> list[Path]:
    """Those of `paths`, relative to the instances folder, that no row speaks of."""
    rows = fetch_all(connection, "unknown_paths", paths=[str(path) for path in paths])
    return [Path(row[0]) for row in rows]


def instances_after(
    connection: Connection, instance_id: int, *, limit: int
) -> list[tuple[int, Path]]:
    """The next kept instances behind `instance_id`, paths relative to the instances folder."""
    rows = fetch_all(connection, "instances_after", instance_id=instance_id, limit=limit)
    return [(row[0], Path(row[1])) for row in rows]


def _runs(rows: list[Row]) -> list[StudyRevision]:
    return [StudyRevision(StudyId(study_id), revision) for study_id, revision in rows]
