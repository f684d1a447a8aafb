"""The DICOM door: C-ECHO and C-STORE (PS3.7 §9.1, PS3.4 Annex B), bytes kept as they are sent."""

from __future__ import annotations

import errno
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import structlog
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    _config,
    build_context,
    evt,
    register_uid,
)
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.logs import log_as_json, place_of
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID, Request
from deepbrainprint.intake.reconciliation import reconcile
from deepbrainprint.intake.signals import stopped_by_signals
from deepbrainprint.intake.sop_classes import PRIVATE_STORAGE, RETIRED_STORAGE
from deepbrainprint.settings import Settings

log = structlog.get_logger()

# PS3.4 Table B.2-1. The low digits of 0xCxxx are ours to choose; 0xC211 is what pynetdicom uses.
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0xC211

_MISMATCHES = frozenset({"uid_mismatch", "class_mismatch"})
_DRAIN_SECONDS = 20.0  # for running associations at a stop; supervisors kill after 30
_WAITING_CONNECTIONS = 128


def listen(settings: Settings, *, stop: threading.Event | None = None) -> None:
    """Receive studies until `stop` is set or the process is asked to end.

    Running associations may finish then, within a bound. Raises Misconfigured when the port is
    taken, when the home folder cannot be written or has another listener, or when PostgreSQL
    refuses us; PostgreSQL being away is waited out.
    """
    log_as_json()
    stop = stop or threading.Event()
    database = Database(
        settings.database_url.get_secret_value(), maximum_connections=settings.maximum_associations
    )
    with stopped_by_signals(stop):
        stale = spool.prepare(settings)
        started_at = time.time()
        with _open_door(settings, database):
            log.info(
                "listening", port=settings.listener_port, ae=settings.ae_title, stale_files=stale
            )
            _reconcile(settings, database, before=started_at, stop=stop)
            stop.wait()
            log.info("stopping")
    database.close()
    log.info("stopped")


@dataclass
class _Tally:
    """What one association brought."""

    instances: int = 0
    repeats: int = 0
    refused: int = 0
    size_bytes: int = 0


class _Door:
    """The handlers of one listener. None of them lets an exception reach the association."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._filing = Filing(settings, database)
        self._tallies: dict[Any, _Tally] = {}

    def opened(self, event: evt.Event) -> None:
        """EVT_ACCEPTED: start counting."""
        self._tallies[event.assoc] = _Tally()
        request = event.assoc.requestor.primitive
        called = "" if request is None else request.called_ae_title
        log.info(
            "association_opened",
            ae=event.assoc.requestor.ae_title,
            address=event.assoc.requestor.address,
            **({} if called == self._settings.ae_title else {"called_ae": called}),
        )

    def closed(self, event: evt.Event) -> None:
        """EVT_CONN_CLOSE: say what came."""
        tally = self._tallies.pop(event.assoc, None)
        if tally is not None:
            log.info("association_closed", ae=event.assoc.requestor.ae_title, **vars(tally))

    def store(self, event: evt.Event) -> Dataset:
        """EVT_C_STORE: the response's status. Success only after file and row are on disk."""
        tally = self._tallies.get(event.assoc) or _Tally()
        try:
            data_set = event.encoded_dataset(include_meta=False)
            arrival = self._filing.receive(_request(event), [data_set])
        except DeepBrainPrintError as error:
            tally.refused += 1
            log.warning("instance_refused", code=error.code, reason=str(error))
            return _response(_status_of(error), error.code)
        except Exception as error:  # noqa: BLE001 — one object must not end an association
            tally.refused += 1
            log.error("store_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            return _response(PROCESSING_FAILURE, "processing_failure")
        tally.instances += arrival is Arrival.NEW
        tally.repeats += arrival is Arrival.REPEAT
        tally.size_bytes += len(data_set)
        return _response(SUCCESS)


class _SharedContexts(list[Any]):
    """pynetdicom copies the supported contexts deeply for each association; ours never change."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedContexts:
        return self


def _request(event: evt.Event) -> Request:
    request = cast("C_STORE", event.request)
    return Request(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae=event.assoc.requestor.ae_title,
    )


def _status_of(error: DeepBrainPrintError) -> int:
    if error.code in _MISMATCHES:
        return DATA_SET_DOES_NOT_MATCH
    return CANNOT_UNDERSTAND if isinstance(error, BadStudy) else OUT_OF_RESOURCES


def _response(status: int, code: str = "") -> Dataset:
    response = Dataset()
    response.Status = status
    if code:
        response.ErrorComment = code.replace("_", " ")  # PS3.7 Annex C: LO, 64 characters
    return response


@contextmanager
def _open_door(settings: Settings, database: Database) -> Iterator[None]:
    _configure_pynetdicom()
    ae = AE(ae_title=settings.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = settings.maximum_associations
    door = _Door(settings, database)
    try:
        server: Any = ae.start_server(
            (settings.listener_host, settings.listener_port),
            block=False,
            contexts=_contexts(),
            evt_handlers=[
                (evt.EVT_ACCEPTED, door.opened),
                (evt.EVT_CONN_CLOSE, door.closed),
                (evt.EVT_C_STORE, door.store),
            ],
        )
    except OSError as error:
        raise _cannot_bind(settings, error) from None
    # Accepted sockets inherit this; without it small answers wait for acknowledgements.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.socket.listen(_WAITING_CONNECTIONS)
    try:
        yield
    finally:
        _drain(server)


def _configure_pynetdicom() -> None:
    _config.LOG_HANDLER_LEVEL = "none"  # its own log would format every message, identity included
    _config.VALIDATORS["UI"] = lambda _: (True, "")  # a bad UID is refused by us, not by an abort
    warnings.filterwarnings("ignore", module="pydicom|pynetdicom")
    for number, uid in enumerate(RETIRED_STORAGE + PRIVATE_STORAGE):
        register_uid(uid, f"FurtherStorage{number}", StorageServiceClass)


def _contexts() -> _SharedContexts:
    # Of several offered transfer syntaxes the first of ours is taken: one that keeps the VRs.
    syntaxes = sorted(ALL_TRANSFER_SYNTAXES, key=lambda uid: uid != ExplicitVRLittleEndian)
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    storage = [*known, *RETIRED_STORAGE, *PRIVATE_STORAGE]
    return _SharedContexts(
        [build_context(Verification)] + [build_context(uid, syntaxes) for uid in storage]
    )


def _cannot_bind(settings: Settings, error: OSError) -> Misconfigured:
    if error.errno == errno.EADDRINUSE:
        return Misconfigured(
            f"port {settings.listener_port} is taken: stop what uses it or set "
            "DBP_LISTENER_PORT to a free one",
            code="port_taken",
        )
    return Misconfigured(
        f"cannot listen on {settings.listener_host} port {settings.listener_port} "
        f"({error.strerror}): correct DBP_LISTENER_HOST or DBP_LISTENER_PORT",
        code="cannot_listen",
    )


def _reconcile(
    settings: Settings, database: Database, *, before: float, stop: threading.Event
) -> None:
    waiting = False
    while not stop.is_set():
        try:
            log.info("reconciled", **vars(reconcile(settings, database, before=before)))
        except TryAgain as error:
            if not waiting:
                log.warning("reconciliation_waits", code=error.code, reason=str(error))
            waiting = True
            stop.wait(1.0)
        else:
            return


def _drain(server: Any) -> None:
    server.shutdown()  # no new associations from here on
    deadline = time.monotonic() + _DRAIN_SECONDS
    while server.active_associations and time.monotonic() < deadline:
        time.sleep(0.05)
    for association in server.active_associations:
        association.abort()
