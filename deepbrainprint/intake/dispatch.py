"""Closes quiet studies and hands each revision to Airflow exactly once."""

from __future__ import annotations

import threading
import time

import structlog

from deepbrainprint.database.arrivals import (
    claim_outbox,
    mark_dispatch_failed,
    mark_dispatched,
    open_runs,
    requeue,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pipeline import fail_revision
from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.intake.airflow_api import TROUBLES, AirflowApi
from deepbrainprint.intake.closing.closer import Closer
from deepbrainprint.intake.logs import log_as_json
from deepbrainprint.intake.retention import Retention
from deepbrainprint.intake.signals import stopped_by_signals
from deepbrainprint.records import StudyRevision
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_LEASE_SECONDS = 60.0  # longer than one round of requests can take
_LONGEST_RETRY_SECONDS = 30.0
_INSPECTION_SECONDS = 10.0  # open runs are younger than this, or asked after once in this time
_ENDED = frozenset({"success", "failed"})


def dispatch(settings: Settings, *, stop: threading.Event | None = None) -> None:
    """Run until `stop` is set or the process is asked to end.

    PostgreSQL or Airflow being away is waited out: the backlog stays in our outbox.
    """
    log_as_json()
    stop = stop or threading.Event()
    database = Database(settings.database_url.get_secret_value(), maximum_connections=1)
    airflow = AirflowApi(settings)
    dispatcher = Dispatcher(settings, database, airflow)
    log.info("dispatching", airflow=settings.airflow_url)
    with stopped_by_signals(stop):
        while not stop.is_set():
            dispatcher.round()
            stop.wait(settings.dispatch_seconds)
    airflow.close()
    database.close()
    log.info("stopped")


class Dispatcher:
    """What goes round. Several may run against one database."""

    def __init__(self, settings: Settings, database: Database, airflow: AirflowApi) -> None:
        self._settings = settings
        self._database = database
        self._airflow = airflow
        self._closer = Closer(settings, database)
        self._retention = Retention(settings, database)
        self._trouble = ""
        self._inspected_at = time.monotonic()

    def round(self) -> None:
        """Close, send, look after open runs and old files.

        Trouble is logged when it comes and when it goes.
        """
        try:
            self.close_quiet()
            answers = self.send_waiting() + self._inspect_in_time()
            self._retention.step_in_time()
        except DeepBrainPrintError as error:
            self._note(error)
        else:
            self._note_success(airflow_answered=answers > 0)

    def close_quiet(self) -> None:
        """Queue the studies that have gone quiet and look complete, or have waited long enough."""
        self._closer.close_due()

    def send_waiting(self) -> int:
        """Hand waiting revisions to Airflow; how many. Raises the first trouble, all put back."""
        trouble: DeepBrainPrintError | None = None
        runs = self._claim()
        for run in runs:
            trouble = trouble or self._send(run)
            if trouble is not None:
                self._put_back(run, trouble)
        if trouble is not None:
            raise trouble
        return len(runs)

    def inspect_open(self) -> int:
        """End or hand over again what Airflow ended or lost untold; how many were looked at."""
        with self._database.transaction() as connection:
            runs = [run for run in open_runs(connection) if run.age_seconds > _INSPECTION_SECONDS]
        for run in runs:
            self._settle(run.revision, self._airflow.run_state(run.revision))
        return len(runs)

    def _inspect_in_time(self) -> int:
        if time.monotonic() - self._inspected_at < _INSPECTION_SECONDS:
            return 0
        self._inspected_at = time.monotonic()
        return self.inspect_open()

    def _claim(self) -> list[StudyRevision]:
        with self._database.transaction() as connection:
            return claim_outbox(
                connection,
                maximum_open_runs=self._settings.maximum_open_runs,
                lease_seconds=_LEASE_SECONDS,
            )

    def _send(self, run: StudyRevision) -> DeepBrainPrintError | None:
        try:
            self._airflow.start_run(run)
        except DeepBrainPrintError as error:
            return error
        with self._database.transaction() as connection:
            mark_dispatched(connection, run)
        log.info("run_dispatched", run=str(run))
        return None

    def _put_back(self, run: StudyRevision, trouble: DeepBrainPrintError) -> None:
        with self._database.transaction() as connection:
            mark_dispatch_failed(
                connection,
                run,
                error=str(trouble),
                retry_seconds=self._settings.dispatch_seconds,
                longest_seconds=_LONGEST_RETRY_SECONDS,
            )

    def _settle(self, run: StudyRevision, state: str | None) -> None:
        with self._database.transaction() as connection:
            if state is None and requeue(connection, run):
                log.warning("run_lost", run=str(run))
            elif state in _ENDED and fail_revision(
                connection, run, code="run_failed", reason=_ended_reason(run, str(state))
            ):
                log.warning("run_failed", run=str(run), state=state)

    def _note(self, error: DeepBrainPrintError) -> None:
        if error.code != self._trouble:
            log.warning("waiting", code=error.code, reason=str(error))
        self._trouble = error.code

    def _note_success(self, *, airflow_answered: bool) -> None:
        if not self._trouble or (self._trouble in TROUBLES and not airflow_answered):
            return
        log.info("working_again", after=self._trouble)
        self._trouble = ""


def _ended_reason(run: StudyRevision, state: str) -> str:
    return (
        f"Airflow ended {run} as {state} without a result: see that run's log, "
        "then send the study again"
    )
