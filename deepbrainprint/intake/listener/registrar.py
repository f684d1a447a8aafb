"""Brings files to rows beside the door: at the start, and when PostgreSQL comes back."""

from __future__ import annotations

import threading

import structlog

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.quarantine import keeping as quarantine
from deepbrainprint.intake.reconciliation import empty_journal, reconcile
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_ROUND_SECONDS = 1.0


class Registrar(threading.Thread):
    """Reconciles once, then empties the journal whenever there is something in it.

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
        if not self._is_reconciled:
            found = reconcile(self._settings, self._database, before=self._started_at)
            log.info("reconciled", **vars(found))
            self._is_reconciled = True
        if registered := empty_journal(self._settings, self._database, self._journal):
            quarantine.record_all(self._settings, self._database)
            log.info("journal_registered", instances=registered)
