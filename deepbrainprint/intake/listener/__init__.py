"""The DICOM door: receives objects, keeps their bytes as they are sent, answers questions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from deepbrainprint.database.connection import Database, give_up_after
from deepbrainprint.intake import spool
from deepbrainprint.intake.listener.health import Health
from deepbrainprint.intake.listener.keeper import Keeper, worker_count
from deepbrainprint.intake.listener.registrar import Registrar
from deepbrainprint.intake.listener.scratch import scratch_folder
from deepbrainprint.intake.listener.worker import DATABASE_SECONDS
from deepbrainprint.intake.logs import log_as_json
from deepbrainprint.intake.signals import stopped_by_signals
from deepbrainprint.intake.tls import server_context
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # how prometheus-client is told


def listen(settings: Settings, *, stop: threading.Event | None = None) -> None:
    """Receive studies until `stop` is set or the process is asked to end.

    Running associations may finish then, within a bound. Raises Misconfigured when a port is
    taken, when the home folder cannot be written, or when PostgreSQL refuses us; PostgreSQL being
    away is waited out.
    """
    log_as_json()
    give_up_after(DATABASE_SECONDS)
    stop = stop or threading.Event()
    database = Database(settings.database_url.get_secret_value(), maximum_connections=2)
    with stopped_by_signals(stop), _shared_folder() as shared:
        server_context(settings)  # what is wrong with certificates is said before anything starts
        stale = spool.prepare(settings)
        started_at = time.time()
        keeper = Keeper(settings, shared)
        health = Health(settings, database, keeper.vital, shared)
        with keeper.open(), health.serve():
            log.info(
                "listening",
                port=settings.listener_port,
                ae=settings.ae_title,
                workers=worker_count(settings),
                stale_files=stale,
            )
            registrar = Registrar(settings, database, started_at, stop)
            registrar.start()
            keeper.serve(stop)
            log.info("stopping")
            registrar.join()
    database.close()
    if registrar.misconfigured is not None:
        raise registrar.misconfigured
    log.info("stopped")


@contextmanager
def _shared_folder() -> Iterator[str]:
    """A folder in which our processes count: their metrics, and their associations."""
    with scratch_folder() as folder:
        os.environ[_METRICS_VARIABLE] = str(folder)
        yield str(folder)


__all__ = ["listen"]
