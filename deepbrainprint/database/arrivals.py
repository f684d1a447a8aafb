"""What intake writes and reads: studies, revisions, instances, identity, quarantine, outbox."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one
from deepbrainprint.errors import Conflict
from deepbrainprint.records import HeaderIdentity, Instance, State, StudyId, StudyRevision


class Arrival(StrEnum):
    """What became of an instance that arrived."""

    NEW = "new"
    REPEAT = "repeat"  # the same bytes again: harmless
    CONFLICT = "conflict"  # other bytes under a known UID: must be kept aside


@dataclass(frozen=True)
class OpenRun:
    """A run that Airflow has and that has not ended."""

    revision: StudyRevision
    age_seconds: float


def record_instance(
    connection: Connection, instance: Instance, identity: HeaderIdentity
) -> tuple[Arrival, StudyRevision]:
    """File one instance that is already durable on disk, opening a revision where needed.

    The study's row is locked until commit, so a study cannot close around an instance. Conflict
    when another transaction filed the same UID meanwhile: roll back and call again.
    """
    known = _known_instance(connection, instance)
    if known is not None:
        return known
    study_id = _touch_study(connection, instance)
    revision = _receiving_revision(connection, study_id)
    values = asdict(instance) | {"path": str(instance.path)}
    inserted = fetch_one(
        connection, "insert_instance", study_id=study_id, revision=revision, **values
    )
    if inserted is None:  # the revision that may have been opened above must not stay
        raise Conflict("another association filed this instance first", code="already_recorded")
    execute(connection, "insert_identity", study_id=study_id, **asdict(identity))
    return Arrival.NEW, StudyRevision(study_id, revision)


def _known_instance(
    connection: Connection, instance: Instance
) -> tuple[Arrival, StudyRevision] | None:
    row = fetch_one(connection, "known_instance", sop_instance_uid=instance.sop_instance_uid)
    if row is None:
        return None
    instance_id, sha256, study_id, revision = row
    where = StudyRevision(study_id, revision)
    if sha256 != instance.sha256:
        return Arrival.CONFLICT, where
    execute(connection, "count_repeat", instance_id=instance_id)
    return Arrival.REPEAT, where


def _touch_study(connection: Connection, instance: Instance) -> StudyId:
    values = {"study_uid": instance.study_uid, "calling_ae": instance.calling_ae}
    row = fetch_one(connection, "touch_study", **values) or fetch_one(
        connection, "insert_study", **values
    )
    assert row is not None  # noqa: S101 — the second statement always returns its row
    return StudyId(row[0])


def _receiving_revision(connection: Connection, study_id: StudyId) -> int:
    row = fetch_one(connection, "newest_revision", study_id=study_id)
    if row is not None and row[1] == State.RECEIVING:
        return int(row[0])
    revision = 1 if row is None else int(row[0]) + 1
    execute(connection, "open_revision", study_id=study_id, revision=revision)
    return revision


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
    """Record an object that was kept aside; False when its path was recorded before.

    `path` is relative to the quarantine folder.
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


def close_quiet_studies(connection: Connection, *, quiet_seconds: float) -> list[StudyRevision]:
    """Close every study without a new instance for `quiet_seconds` and queue its revision."""
    return _runs(fetch_all(connection, "close_quiet_studies", quiet_seconds=quiet_seconds))


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
    """Files of a study up to and including a revision, relative to the instances folder."""
    rows = fetch_all(connection, "instance_paths", study_id=run.study_id, revision=run.revision)
    return [Path(row[0]) for row in rows]


def unknown_paths(connection: Connection, paths: list[Path]) -> list[Path]:
    """Those of `paths`, relative to the instances folder, that no row speaks of."""
    rows = fetch_all(connection, "unknown_paths", paths=[str(path) for path in paths])
    return [Path(row[0]) for row in rows]


def instances_after(
    connection: Connection, instance_id: int, *, limit: int
) -> list[tuple[int, Path]]:
    """The next rows behind `instance_id`, with their paths relative to the instances folder."""
    rows = fetch_all(connection, "instances_after", instance_id=instance_id, limit=limit)
    return [(row[0], Path(row[1])) for row in rows]


def _runs(rows: list[Row]) -> list[StudyRevision]:
    return [StudyRevision(StudyId(study_id), revision) for study_id, revision in rows]
