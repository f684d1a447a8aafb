"""Runs the HTTP door as a service of its own."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
import time

import structlog
import uvicorn

from deepbrainprint.database.connection import Database, give_up_after
from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake import spool
from deepbrainprint.intake.dicomweb.app import create_app
from deepbrainprint.intake.listener.library import configure_pynetdicom
from deepbrainprint.intake.listener.registrar import Registrar
from deepbrainprint.intake.listener.worker import DATABASE_SECONDS
from deepbrainprint.intake.logs import log_as_json
from deepbrainprint.intake.signals import stopped_by_signals
from deepbrainprint.intake.tls import server_context
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_CONNECTIONS = 16  # to PostgreSQL
_DRAIN_SECONDS = 20  # for running requests at a stop; supervisors kill after 30
_WAITING_CONNECTIONS = 512


def serve_dicomweb(settings: Settings, *, stop: threading.Event | None = None) -> None:
    """Serve until `stop` is set or the process is asked to end; running requests may finish then.

    Raises Misconfigured when the port is taken, the home folder cannot be written, or the
    certificate is not in order. PostgreSQL being away is waited out.
    """
    log_as_json()
    configure_pynetdicom()
    give_up_after(DATABASE_SECONDS)
    stop = stop or threading.Event()
    database = Database(settings.database_url.get_secret_value(), maximum_connections=_CONNECTIONS)
    with stopped_by_signals(stop), _bound(settings) as door:
        spool.prepare(settings)
        server = _server(settings, database)
        registrar = Registrar(settings, database, time.time(), stop)
        registrar.start()
        threading.Thread(target=_end_on, args=(stop, server), daemon=True).start()
        log.info("serving_dicomweb", port=settings.dicomweb_port, tls=server.config.ssl is not None)
        server.run(sockets=[door])
        stop.set()
        registrar.join()
    database.close()
    if registrar.misconfigured is not None:
        raise registrar.misconfigured
    log.info("stopped")


def _server(settings: Settings, database: Database) -> uvicorn.Server:
    context = server_context(settings)
    if context is None and not _is_loopback(settings.dicomweb_host):
        log.warning(
            "tokens_in_clear",
            reason="DICOMweb is open to other machines without TLS: set DBP_TLS_CERTIFICATE, or "
            "leave DBP_DICOMWEB_HOST at 127.0.0.1 behind a proxy that speaks TLS",
        )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # it would quote requests
        logging.getLogger(name).propagate = False
    config = uvicorn.Config(
        create_app(settings, database),
        http="h11",  # stricter than the other one, and in every installation
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.dicomweb_requests,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    config.load()
    config.ssl = context
    return uvicorn.Server(config)


def _end_on(stop: threading.Event, server: uvicorn.Server) -> None:
    stop.wait()
    server.should_exit = True


def _bound(settings: Settings) -> socket.socket:
    host, port = settings.dicomweb_host, settings.dicomweb_port
    try:
        return socket.create_server((host, port), backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(
                f"port {port} is taken: stop what uses it or set DBP_DICOMWEB_PORT to a free one",
                code="port_taken",
            ) from None
        raise Misconfigured(
            f"cannot listen on {host} port {port} ({error.strerror}): correct DBP_DICOMWEB_HOST "
            "or DBP_DICOMWEB_PORT",
            code="cannot_listen",
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
