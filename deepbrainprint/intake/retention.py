"""Deletes the files of studies that are processed and past their time; nothing else.

An instance goes when every revision of its study has ended, the newest neither failed nor waits
for a person, and all that is DBP_RETENTION_DAYS ago. What the pipeline made of it stays, and so
does its row, with the time of deletion. What waits in the journal is left alone. Objects in
quarantine have DBP_QUARANTINE_DAYS of their own.

The row stays locked from before its file is removed until that is on disk and recorded. A process
killed between leaves rows without files, which the next run records as deleted. When the same
instance is sent again it is neither new, as its study does not reopen, nor merely called present:
its file is stored again, its row says so, and its time starts anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.retention import (
    KeptInstance,
    OldStudy,
    lock_kept_instances,
    lock_old_study,
    mark_deleted,
    old_quarantine,
    old_studies,
)
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.quarantine.desk import QuarantineDesk
from deepbrainprint.intake.spool import storage_errors, sync_folder
from deepbrainprint.records import StudyId
from deepbrainprint.settings import Settings

log = structlog.get_logger()

ACTOR = "retention"
_SECONDS_A_DAY = 86_400.0
_BATCH = 100  # files removed while their rows are locked
_STUDIES_AT_ONCE = 1_000
_IDLE_SECONDS = 600.0


@dataclass(frozen=True)
class Due:
    """What is past its time now."""

    studies: Sequence[OldStudy]
    quarantined: int


@dataclass(frozen=True)
class Removed:
    """What was deleted."""

    instances: int = 0
    size_bytes: int = 0
    quarantined: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.instances + other.instances,
            self.size_bytes + other.size_bytes,
            self.quarantined + other.quarantined,
        )


class Retention:
    """Deletes in small batches. Several may do so against one database and one home."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._journal = Journal(settings)
        self._desk = QuarantineDesk(settings, database, actor=ACTOR)
        self._studies: deque[StudyId] = deque()
        self._next_at = 0.0

    def due(self) -> Due:
        """What a run would delete now."""
        with self._database.transaction() as connection:
            return Due(
                self._old_studies(connection, None), len(self._old_objects(connection, None))
            )

    def step_in_time(self) -> None:
        """One batch when it is time for one: at once while there is more, else after a while."""
        if time.monotonic() < self._next_at:
            return
        if self.step() == Removed():
            self._next_at = time.monotonic() + _IDLE_SECONDS

    def run(self, stop: threading.Event | None = None) -> Removed:
        """Delete all that is due, until `stop` is set; what was deleted."""
        total = Removed()
        while stop is None or not stop.is_set():
            removed = self.step()
            if removed == Removed():
                break
            total += removed
        return total

    def step(self) -> Removed:
        """Delete one batch; nothing when nothing is due. TryAgain when disk or database fail."""
        if not self._studies:
            with self._database.transaction() as connection:
                self._studies.extend(
                    study.study_id for study in self._old_studies(connection, _STUDIES_AT_ONCE)
                )
        while self._studies:
            removed = self._take_from(self._studies[0])
            if removed != Removed():
                return removed
            self._studies.popleft()
        return self._discard_old()

    def _take_from(self, study_id: StudyId) -> Removed:
        with self._database.transaction() as connection:
            if not lock_old_study(connection, study_id, age_seconds=self._age_seconds()):
                return Removed()
            kept = lock_kept_instances(connection, study_id, limit=_BATCH)
            if self._is_in_journal(kept):
                return Removed()
            self._unlink(kept)
            mark_deleted(connection, [instance.instance_id for instance in kept])
            removed = Removed(len(kept), sum(instance.size_bytes for instance in kept))
            if kept:
                record_act(connection, _act(study_id, removed))
        if kept:
            log.info("instances_deleted", study=study_id, **vars(removed))
        return removed

    def _is_in_journal(self, instances: Sequence[KeptInstance]) -> bool:
        """Whether one came again while PostgreSQL was away; then the study is left for later."""
        return any(self._journal.has(instance.path) for instance in instances)

    def _unlink(self, instances: Sequence[KeptInstance]) -> None:
        root = self._settings.instances_folder
        with storage_errors():
            for instance in instances:
                (root / instance.path).unlink(missing_ok=True)
            for folder in {(root / instance.path).parent for instance in instances}:
                sync_folder(folder)

    def _discard_old(self) -> Removed:
        with self._database.transaction() as connection:
            numbers = self._old_objects(connection, _BATCH)
        days = self._settings.quarantine_days
        for number in numbers:
            self._desk.discard(self._desk.find(number), reason=f"held for {days:g} days")
        return Removed(quarantined=len(numbers))

    def _old_studies(self, connection: Connection, limit: int | None) -> list[OldStudy]:
        if not self._settings.retention_days:
            return []
        return old_studies(connection, age_seconds=self._age_seconds(), limit=limit)

    def _old_objects(self, connection: Connection, limit: int | None) -> list[int]:
        if not self._settings.quarantine_days:
            return []
        age_seconds = self._settings.quarantine_days * _SECONDS_A_DAY
        return old_quarantine(connection, age_seconds=age_seconds, limit=limit)

    def _age_seconds(self) -> float:
        return self._settings.retention_days * _SECONDS_A_DAY


def _act(study_id: StudyId, removed: Removed) -> Act:
    return Act(
        actor=ACTOR,
        act="deleted_instances",
        subject_kind="study",
        subject_id=str(study_id),
        details={"instances": removed.instances, "size_bytes": removed.size_bytes},
    )
