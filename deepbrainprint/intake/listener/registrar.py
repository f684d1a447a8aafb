"""Brings files to rows beside the door: at the start, and when PostgreSQL comes back."""

from __future__ import annotations

import threading

import structlog

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.intake.disk import DiskState, DiskWatch
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.quarantine import keeping as quarantine
from deepbrainprint.intake.reconciliation import empty_journal, reconcile
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_ROUND_SECONDS = 1.0
_DISK_WORDS = {
    DiskState.OK: "there is room again",
    DiskState.LOW: "less than DBP_LOW_FREE_BYTES is free under DBP_HOME: free space, or let "
    "DBP_RETENTION_DAYS delete sooner",
    DiskState.FULL: "less than DBP_MINIMUM_FREE_BYTES is free under DBP_HOME: instances are "
    "refused with 0xA700 until there is more",
}


class Registrar(threading.Thread):
    """Reconciles once, then empties the journal whenever there is something in it.

    Says beside that when the disk becomes low or full, and when it has room again.
    Sets `stop` when PostgreSQL refuses us, with the error in `misconfigured`.
    """

    def __init__(
        self, settings: Settings, database: Database, started_at: float, stop: threading.Event
    ) -> None:
        super().__init__(name="registrar", daemon=True)
        self.misconfigured: Misconfigured | None = None
        self._settings = settings
        self._database = database
        self._started_at = started_at  # what is older is not in the hands of an association
        self._stop_all = stop
        self._journal = Journal(settings)
        self._disk = DiskWatch(settings)
        self._disk_state = DiskState.OK
        self._is_reconciled = False
        self._is_waiting = False

    def run(self) -> None:
        """Go round until the stop."""
        while not self._stop_all.is_set():
            try:
                self._round()
                self._is_waiting = False
            except TryAgain as error:
                if not self._is_waiting:
                    log.warning("reconciliation_waits", code=error.code, reason=str(error))
                self._is_waiting = True
            except Misconfigured as error:
                self.misconfigured = error
                self._stop_all.set()
            except Exception as error:  # noqa: BLE001 — tried again; the door stays open meanwhile
                log.error("registration_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            self._stop_all.wait(_ROUND_SECONDS)

    def _round(self) -> None:
        self._tell_of_disk()
        if not self._is_reconciled:
            found = reconcile(self._settings, self._database, before=self._started_at)
            log.info("reconciled", **vars(found))
            self._is_reconciled = True
        if registered := empty_journal(self._settings, self._database, self._journal):
            quarantine.record_all(self._settings, self._database)
            log.info("journal_registered", instances=registered)

    def _tell_of_disk(self) -> None:
        state, known = self._disk.state(), self._disk_state
        if state is not known:
            tell = log.info if state is DiskState.OK else log.warning
            tell(f"disk_{state}", free_bytes=self._disk.free_bytes(), reason=_DISK_WORDS[state])
        self._disk_state = state
