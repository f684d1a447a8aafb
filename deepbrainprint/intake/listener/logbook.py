"""The association log: one row for each connection that asked for an association."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import structlog

from deepbrainprint.database.associations import record_associations
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import DeepBrainPrintError

log = structlog.get_logger()

_MOST_WAITING = 10_000  # rows held while PostgreSQL is away; each was logged as well
_LARGEST_BATCH = 200
_PAUSE_SECONDS = 1.0


class Logbook:
    """Writes rows in a thread of its own, so that no sender waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(_MOST_WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def note(self, row: dict[str, Any]) -> None:
        """Keep a row to be written soon; dropped when too many wait."""
        try:
            self._waiting.put_nowait(row | {"closed_at": time.time()})
        except queue.Full:
            log.warning("association_log_full", dropped=1)

    def close(self) -> None:
        """Write what waits, once, and end."""
        self._closing.set()
        self._thread.join(5)

    def _write(self) -> None:
        batch: list[dict[str, Any]] = []
        while not (self._closing.is_set() and self._waiting.empty() and not batch):
            batch += self._taken(_LARGEST_BATCH - len(batch))
            if batch and self._is_written(batch):
                batch = []
            elif self._closing.is_set():
                return
            self._closing.wait(_PAUSE_SECONDS)

    def _taken(self, most: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while len(rows) < most and not self._waiting.empty():
            rows.append(self._waiting.get())
        return rows

    def _is_written(self, batch: list[dict[str, Any]]) -> bool:
        try:
            with self._database.statement() as connection:
                record_associations(connection, batch)
        except DeepBrainPrintError:
            return False
        return True
