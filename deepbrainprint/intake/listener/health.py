"""What the listener says of itself over HTTP: /metrics, /healthz and /readyz. No identity in it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from pynetdicom import build_context

from deepbrainprint.database.connection import Database
from deepbrainprint.database.health import IntakeDepth, intake_depth
from deepbrainprint.errors import DeepBrainPrintError, Misconfigured
from deepbrainprint.intake.disk import DiskState, DiskWatch
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.listener.contexts import VERIFICATION
from deepbrainprint.intake.peer import Peer
from deepbrainprint.settings import Settings

_ECHO_SECONDS = 5.0
_REMEMBER_SECONDS = 1.0  # a probe that asks often costs one echo a second
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — where to find ourselves there
_OK, _NOT_OK, _NOT_FOUND = "200 OK", "503 Service Unavailable", "404 Not Found"

Respond = Callable[[str, list[tuple[str, str]]], object]


class Health:
    """Answers for a listener whose keeper is `keeper`; each request in a thread of its own."""

    def __init__(
        self, settings: Settings, database: Database, vital: Callable[[], str], folder: str
    ) -> None:
        self._settings = settings
        self._database = database
        self._vital = vital  # words on what is wrong with the processes, or an empty text
        self._disk = DiskWatch(settings)
        self._journal = Journal(settings)
        self._lock = threading.Lock()
        self._checks: dict[str, str] = {}
        self._checked_at = -1.0
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, path=folder)  # type: ignore[no-untyped-call]
        self._registry.register(_Depths(self))

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Answer on the metrics port until the end. Misconfigured when the port is taken."""
        if not self._settings.metrics_port:
            yield
            return
        host, port = self._settings.metrics_host, self._settings.metrics_port
        try:
            server = make_server(host, port, self._answer, _Server, _Quiet)
        except OSError as error:
            raise Misconfigured(
                f"cannot serve metrics on {host} port {port} ({error.strerror}): set "
                "DBP_METRICS_PORT to a free port, or to 0 for none",
                code="metrics_port_taken",
            ) from None
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()

    def checks(self) -> dict[str, str]:
        """For each thing that a sender needs words on what is wrong, or an empty text."""
        with self._lock:
            if time.monotonic() - self._checked_at > _REMEMBER_SECONDS:
                self._checks = {
                    "processes": self._vital(),
                    "echo": self._echo_fault(),
                    "disk": self._disk_fault(),
                    "database": self._database_fault(),
                }
                self._checked_at = time.monotonic()
            return self._checks

    def depth(self) -> IntakeDepth | None:
        """What waits in the database; None when it is away."""
        try:
            with self._database.statement() as connection:
                return intake_depth(connection)
        except DeepBrainPrintError:
            return None

    def gauges(self) -> dict[str, float]:
        """What is measured at the moment of asking."""
        depth, journal = self.depth(), self._journal.depth()
        disk = self._disk.state()
        figures: dict[str, float] = {
            "dbp_database_up": depth is not None,
            "dbp_disk_free_bytes": self._disk.free_bytes(),
            "dbp_disk_low": disk is not DiskState.OK,
            "dbp_disk_refusing": disk is DiskState.FULL,
            "dbp_journal_instances": journal.instances,
            "dbp_journal_bytes": journal.size_bytes,
            "dbp_journal_oldest_seconds": journal.oldest_seconds,
        }
        return figures | ({} if depth is None else depth.gauges())

    def _answer(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            respond(_OK, [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest(self._registry)]
        if path == "/healthz":
            return _told({"processes": self._vital()}, respond)
        if path == "/readyz":
            return _told(self.checks(), respond)
        respond(_NOT_FOUND, [("Content-Type", "text/plain")])
        return [b"/metrics, /healthz or /readyz\n"]

    def _echo_fault(self) -> str:
        """Ask ourselves as a modality would (PS3.4 Annex A)."""
        settings = self._settings
        host = _ANY_ADDRESS.get(settings.listener_host, settings.listener_host)
        peer = Peer(
            host,
            settings.tls_port if settings.plain_port_closed else settings.listener_port,
            called_ae=settings.ae_title,
            calling_ae=settings.ae_title,
            tls=_to_ourselves(settings) if settings.plain_port_closed else None,
            connect_seconds=_ECHO_SECONDS,
            answer_seconds=_ECHO_SECONDS,
        )
        association = peer.associate([build_context(VERIFICATION)])
        if not association.is_established:
            return "the listener does not take an association from itself"
        answer = association.send_c_echo()
        association.release()
        return "" if answer.get("Status") == 0 else "the listener does not answer a C-ECHO"

    def _disk_fault(self) -> str:
        try:
            self._disk.require_room()
        except DeepBrainPrintError as error:
            return str(error)
        return ""

    def _database_fault(self) -> str:
        """PostgreSQL may be away as long as the journal has room."""
        if self.depth() is not None:
            return ""
        try:
            self._journal.require_room()
        except DeepBrainPrintError as error:
            return str(error)
        return ""


def _to_ourselves(settings: Settings) -> ssl.SSLContext:
    """Our own port needs no proof of who it is; it may want our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if settings.tls_certificate is not None:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


class _Depths(Collector):
    """Gauges that are looked up when they are asked for."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, value in self._health.gauges().items():
            yield GaugeMetricFamily(name, name.removeprefix("dbp_").replace("_", " "), value=value)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = True  # a second listener takes over before the first one stops


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: probes come every few seconds."""


def _told(checks: dict[str, str], respond: Respond) -> Iterable[bytes]:
    is_well = not any(checks.values())
    respond(_OK if is_well else _NOT_OK, [("Content-Type", "application/json")])
    words = {name: fault or "ok" for name, fault in checks.items()}
    return [json.dumps(words).encode() + b"\n"]
