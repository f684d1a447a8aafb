"""A pull as a door carries it out: opened, held against others, run, and its end recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from deepbrainprint.database import pulls
from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.pulls import AskRow, PullId
from deepbrainprint.errors import BadStudy, Conflict, DeepBrainPrintError, TryAgain
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.pull.asks import Ask, without_repeats
from deepbrainprint.intake.pull.campaign import Campaign, Progress
from deepbrainprint.intake.pull.clock import Clock
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.order import Order, source_of
from deepbrainprint.intake.pull.pace import Pace
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_LOCK_SECONDS = 2.0


def open_pull(database: Database, order: Order, asks: Sequence[Ask]) -> PullId:
    """Remember a new pull; the same value on two lines is asked for once."""
    rows = [
        AskRow(position, ask.kind, ask.place, ask.value)
        for position, ask in enumerate(without_repeats(asks), start=1)
    ]
    with database.transaction() as connection:
        return pulls.open_pull(connection, order.terms(), rows)


def carry_out(
    settings: Settings,
    database: Database,
    pull_id: PullId,
    *,
    stop: threading.Event | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Do what a pull has left to do; a settled study is not touched again.

    TryAgain or Misconfigured when it stopped before its end and can be resumed; Conflict when
    another process is at it; BadStudy when there is no such pull.
    """
    with _held(settings, pull_id):
        order = _reopened(database, pull_id)
        log.info("pull_begins", pull=pull_id, source=order.source, way=order.way)
        clock = Clock(stop)
        try:
            spool.prepare(settings)
            inbox = Inbox(Filing(settings, database), database, Pace(order.rate, clock), clock)
            source = source_of(order, settings)
            Campaign(database, pull_id, order, source=source, inbox=inbox, report=report).run()
        except DeepBrainPrintError as error:
            log.warning("pull_stopped", pull=pull_id, code=error.code, reason=str(error))
            with suppress(TryAgain):  # PostgreSQL is away: the pull stays open, and is interrupted
                _end(database, pull_id, "stopped", error)
            raise
        _end(database, pull_id, "done")
        log.info("pull_done", pull=pull_id)


@contextmanager
def _held(settings: Settings, pull_id: PullId) -> Iterator[None]:
    """No other process works on this pull meanwhile; a killed one lets go at once."""
    database = Database(settings.database_url.get_secret_value(), maximum_connections=1)
    try:
        with database.statement() as connection:
            if not _locked(connection, pull_id):
                raise Conflict(
                    f"pull {pull_id} is running: look at it with `deepbrainprint pulls {pull_id}`",
                    code="pull_is_running",
                )
            yield
    finally:
        database.close()


def _locked(connection: Connection, pull_id: PullId) -> bool:
    """Lock it; PostgreSQL may need a moment to notice that its last holder has ended."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while not pulls.lock_pull(connection, pull_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _reopened(database: Database, pull_id: PullId) -> Order:
    with database.transaction() as connection:
        terms = pulls.pull_terms(connection, pull_id)
        if terms is None:
            raise BadStudy(f"there is no pull {pull_id}", code="no_such_pull")
        pulls.reopen_pull(connection, pull_id)
    return Order.of(terms)


def _end(
    database: Database, pull_id: PullId, state: str, error: DeepBrainPrintError | None = None
) -> None:
    code, reason = (error.code, str(error)) if error else ("", "")
    with database.transaction() as connection:
        pulls.end_pull(connection, pull_id, state=state, code=code, reason=reason)
