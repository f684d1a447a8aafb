"""Writes the rows of arrivals, those that come at one time in one commit."""

from __future__ import annotations

import threading
import time
from collections import deque

from deepbrainprint.database.arrivals import Arrival, Filed, is_answering, record_arrivals
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Conflict, DeepBrainPrintError, TryAgain
from deepbrainprint.records import HeaderIdentity, Instance

LARGEST_BATCH = 64
_ASK_AGAIN_SECONDS = 1.0  # PostgreSQL that is away is not asked for each object
_ATTEMPTS = 5


class _Waiting:
    """One arrival that waits for its row, and what became of it."""

    __slots__ = ("arrival", "error", "identity", "instance")

    def __init__(self, instance: Instance, identity: HeaderIdentity) -> None:
        self.instance = instance
        self.identity = identity
        self.arrival: Arrival | None = None
        self.error: Exception | None = None


class Recorder:
    """One writer for all associations of a process. Thread-safe.

    Whoever comes while a batch is being committed joins the next one, so that a commit is paid
    once for all who wait; whoever comes alone does not wait for others.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[_Waiting] = deque()
        self._turn = threading.Lock()
        self._asking = threading.Lock()
        self._ask_at = 0.0  # when to ask whether PostgreSQL is back; 0 while it answers

    def record(self, instance: Instance, identity: HeaderIdentity) -> Arrival:
        """File the row of an instance that is durable on disk; it is committed on return.

        TryAgain with code `database_away` when PostgreSQL does not answer.
        """
        waiting = _Waiting(instance, identity)
        self._queue.append(waiting)
        with self._turn:
            while waiting.arrival is None and waiting.error is None:
                self._commit_batch()
        if waiting.arrival is None:
            raise waiting.error or AssertionError
        return waiting.arrival

    def is_away(self) -> bool:
        """Whether PostgreSQL does not answer; asked again once in a while, while nobody waits."""
        if 0 < self._ask_at <= time.monotonic() and self._asking.acquire(blocking=False):
            threading.Thread(target=self._ask, name="asks PostgreSQL", daemon=True).start()
        return bool(self._ask_at)

    def _commit_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(LARGEST_BATCH, len(self._queue)))]
        try:
            self._file(batch)
        except DeepBrainPrintError as error:
            _fail(batch, error)
        except Exception:  # noqa: BLE001 — a row that cannot be filed must not stop the others
            for waiting in batch:
                self._file_alone(waiting)

    def _file(self, batch: list[_Waiting]) -> None:
        if self.is_away():
            raise TryAgain("PostgreSQL does not answer", code="database_away")
        rows = [(waiting.instance, waiting.identity) for waiting in batch]
        for waiting, answer in zip(batch, self._committed(rows), strict=True):
            waiting.arrival = answer.arrival

    def _committed(self, rows: list[tuple[Instance, HeaderIdentity]]) -> list[Filed]:
        for _ in range(_ATTEMPTS):
            try:
                with self._database.statement() as connection:
                    return record_arrivals(connection, rows)
            except Conflict:  # another process was first; by now its row can be seen
                continue
            except TryAgain:
                self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS
                raise
        raise TryAgain("other senders file the same instances", code="database_busy")

    def _file_alone(self, waiting: _Waiting) -> None:
        try:
            self._file([waiting])
        except Exception as error:  # noqa: BLE001 — handed to whoever waits
            waiting.error = error

    def _ask(self) -> None:
        """Look whether PostgreSQL is back."""
        try:
            with self._database.statement() as connection:
                is_answering(connection)
            self._ask_at = 0.0
        except DeepBrainPrintError:
            self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS
        finally:
            self._asking.release()


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        waiting.error = error
