"""How every step runs: once per revision, timed, with its outcome written down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deepbrainprint.database import pipeline
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, DeepBrainPrintError, NotApplicable
from deepbrainprint.records import Scan, State, StudyRevision
from deepbrainprint.settings import Settings

NATIVE, BRAIN, SLICES = "native.nii.gz", "brain.nii.gz", "slices.npy"
MOSAIC, VENTRICLES = "mosaic.png", "ventricles.png"


@dataclass(frozen=True)
class StepContext:
    """What a step works with."""

    settings: Settings
    database: Database
    run: StudyRevision

    @property
    def folder(self) -> Path:
        """Where this revision's files are."""
        return self.settings.studies_folder / str(self.run.study_id) / f"r{self.run.revision}"

    def scans(self) -> list[Scan]:
        """The scans of this revision, with folders as absolute paths."""
        with self.database.transaction() as connection:
            return pipeline.scans_of(connection, self.run)

    def brains(self) -> list[Scan]:
        """The scans of this revision that were not refused."""
        return [scan for scan in self.scans() if not scan.failed]

    def scan_folder(self, scan: Scan) -> Path:
        """Where this scan's files are."""
        return self.settings.studies_folder / scan.folder


def perform(
    settings: Settings,
    run: StudyRevision,
    *,
    step: str,
    reached: State,
    work: Callable[[StepContext], None],
) -> StudyRevision:
    """Do `work`, record its time and outcome, and move the revision to `reached`.

    A repeat after success is harmless: work is written to be repeatable. A revision that a later
    one superseded is not worked on: NotApplicable. BadStudy is recorded as the end of the
    revision before it is raised on; other errors are recorded and leave it open for a retry.
    Conflict when there is no such revision.
    """
    with closing(Database(settings.database_url.get_secret_value())) as database:
        context = StepContext(settings, database, run)
        _refuse_superseded(context)
        started_at = datetime.now(UTC)
        try:
            work(context)
        except DeepBrainPrintError as error:
            _record_error(context, step, started_at, error)
            raise
        _record_done(context, step, reached, started_at)
    return run


def _refuse_superseded(context: StepContext) -> None:
    with context.database.transaction() as connection:
        state = pipeline.revision_state(connection, context.run)
    if state is State.SUPERSEDED:
        raise NotApplicable(f"{context.run} was superseded by a later revision", code="superseded")


def _record_done(context: StepContext, step: str, reached: State, started_at: datetime) -> None:
    with context.database.transaction() as connection:
        pipeline.insert_step_run(connection, context.run, step=step, started_at=started_at)
        state = pipeline.revision_state(connection, context.run)
        if state not in pipeline.FINAL_STATES:
            pipeline.set_state(connection, context.run, reached)


def _record_error(
    context: StepContext, step: str, started_at: datetime, error: DeepBrainPrintError
) -> None:
    with context.database.transaction() as connection:
        pipeline.insert_step_run(
            connection,
            context.run,
            step=step,
            started_at=started_at,
            outcome=type(error).__name__,
            reason_code=error.code,
            reason=str(error),
        )
        end = _end_of(error)
        if end is not None:
            pipeline.set_state(
                connection, context.run, end, reason_code=error.code, reason=str(error)
            )


def _end_of(error: DeepBrainPrintError) -> State | None:
    if isinstance(error, NotApplicable):
        return State.NOT_APPLICABLE
    return State.REJECTED if isinstance(error, BadStudy) else None
