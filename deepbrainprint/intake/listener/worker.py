"""One receiving process: takes connections from the keeper and lives through their associations."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import structlog
from pynetdicom import AE

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database, give_up_after
from deepbrainprint.intake.admission import Reject
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.listener import measures
from deepbrainprint.intake.listener.association import Story, StreamingAssociation
from deepbrainprint.intake.listener.library import configure_pynetdicom
from deepbrainprint.intake.listener.logbook import Logbook
from deepbrainprint.intake.listener.places import Places
from deepbrainprint.intake.listener.scratch import hold
from deepbrainprint.intake.listener.services import Services
from deepbrainprint.intake.listener.storing import StoreAnswer, StoreOperation
from deepbrainprint.intake.logs import log_as_json
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID, Request
from deepbrainprint.settings import Settings

log = structlog.get_logger()

READY, ENDED, DRAIN = b"ready", b"ended", b"drain"
LARGEST_MESSAGE = 1024
DATABASE_SECONDS = 8.0  # for PostgreSQL's answer, while a sender waits for ours
DRAIN_SECONDS = 20.0  # for running associations at a stop; supervisors kill after 30

_HANDSHAKE_SECONDS = 15.0
_CONNECTIONS = 8  # to PostgreSQL, for all but filing
_FILING_CONNECTIONS = 3  # rows of instances, rows of quarantine, asking whether it is back
_LIMIT_EXCEEDED: Reject = (0x02, 0x03, 0x02)  # transient, by the service provider
_TOO_MANY = "too_many_associations"
_UNTOLD = frozenset({"", _TOO_MANY})  # other refusals were logged by who ruled so


def work(settings: Settings, channel: socket.socket, places: Path, seat: int) -> None:
    """Serve connections that come through `channel` until it says drain or ends.

    Associations are counted in the file `places`, at `seat`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the keeper says when to stop
        signal.signal(number, signal.SIG_IGN)
    log_as_json()
    configure_pynetdicom()
    give_up_after(DATABASE_SECONDS)
    hold(places.parent)  # also when the keeper is killed and we finish what we have
    worker = _Worker(settings, channel, Places(places, seat))
    try:
        channel.send(READY)
        worker.take_connections()
    except OSError:  # the keeper is no more
        log.warning("keeper_gone")
    finally:
        worker.drain()


class _Worker:
    """The house in which the associations of this process live."""

    def __init__(self, settings: Settings, channel: socket.socket, places: Places) -> None:
        self.ae = _application_entity(settings)
        self._settings = settings
        self._channel = channel
        url = settings.database_url.get_secret_value()
        self._database = Database(url, maximum_connections=_CONNECTIONS)
        # Filing has connections of its own: while one is being opened to a server that hangs,
        # whoever shares them waits.
        self._database_of_filing = Database(url, maximum_connections=_FILING_CONNECTIONS)
        self._filing = Filing(settings, self._database_of_filing)
        self._logbook = Logbook(self._database)
        self._services = Services(settings, self._database)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._associations: dict[StreamingAssociation, measures.OfSender] = {}
        self._places = places
        self._seated: set[StreamingAssociation] = set()

    def take_connections(self) -> None:
        """Start a thread for each connection; come back when told to drain."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._channel, LARGEST_MESSAGE, 1)
            if message in {b"", DRAIN}:
                return
            if not descriptors:  # we have no more of them; the keeper has closed the connection
                log.error("too_many_open_files", associations=len(self._associations))
                self._channel.send(ENDED)
                continue
            connection = socket.socket(fileno=descriptors[0])
            thread = threading.Thread(
                target=self._live, args=(connection, json.loads(message)), daemon=True
            )
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def drain(self) -> None:
        """Let running associations finish within a bound, then end what is left."""
        deadline = time.monotonic() + DRAIN_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        for association in list(self._associations):
            association.abort()
        self._services.close()
        self._logbook.close()
        self._database.close()
        self._database_of_filing.close()

    def _live(self, connection: socket.socket, told: dict[str, str | bool]) -> None:
        """A connection from its first byte to its last."""
        story = Story(address=str(told["address"]), is_encrypted=bool(told["tls"]))
        try:
            _without_delay(connection, float(self._settings.network_seconds))
            secured = self._secured(connection) if story.is_encrypted else connection
            association = StreamingAssociation(self, secured, story)
            association.run_reactor()
        except (OSError, ssl.SSLError) as error:
            log.warning(
                "connection_failed", address=story.address, reason=getattr(error, "reason", "")
            )
            connection.close()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
            with suppress(OSError):
                self._channel.send(ENDED)

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        connection.settimeout(_HANDSHAKE_SECONDS)
        return self._services.tls_context().wrap_socket(connection, server_side=True)

    def receive(self, association: StreamingAssociation) -> Reject | None:
        """Let a sender in, or say why not."""
        refusal = self._services.receive(association)
        if refusal is None and not self._places.take(self._settings.maximum_associations):
            association.story.reason_code = _TOO_MANY
            refusal = _LIMIT_EXCEEDED
        elif refusal is None:
            self._seated.add(association)
        return refusal

    def opened(self, association: StreamingAssociation) -> None:
        """Count it, and say so."""
        story = association.story
        self._associations[association] = measures.OfSender(story.calling_ae)
        log.info(
            "association_opened",
            ae=story.calling_ae,
            address=story.address,
            **({} if story.called_ae == self.ae.ae_title else {"called_ae": story.called_ae}),
        )

    def begin_store(self, association: StreamingAssociation, request: Request) -> StoreOperation:
        """Take in one instance, or send it to quarantine where the sender is not known."""
        return StoreOperation(
            self._filing, request, quarantine_why=self._services.quarantine_why(association)
        )

    def answered(
        self, association: StreamingAssociation, answer: StoreAnswer, seconds: float
    ) -> None:
        """Count one C-STORE."""
        story = association.story
        if answer.arrival is None:
            story.refusals[answer.code] = story.refusals.get(answer.code, 0) + 1
        else:
            story.instances += answer.arrival is Arrival.NEW
            story.repeats += answer.arrival is Arrival.REPEAT
            story.size_bytes += answer.size_bytes
        self._associations[association].count(answer, seconds)

    def closed(self, association: StreamingAssociation) -> None:
        """Say what came, in the log and in the database."""
        if association in self._seated:
            self._seated.discard(association)
            self._places.give_back()
        sender = self._associations.pop(association, None)
        self._services.closed(association)
        story = association.story
        measures.count_association(story.calling_ae, story.ended)
        if sender is not None:
            log.info(
                "association_closed",
                ae=story.calling_ae,
                ended=story.ended,
                instances=story.instances,
                repeats=story.repeats,
                refused=sum(story.refusals.values()),
                size_bytes=story.size_bytes,
            )
        elif story.reason_code in _UNTOLD and (
            story.calling_ae or story.ended == "protocol_violation"
        ):
            log.warning(
                "association_refused",
                ae=story.calling_ae,
                address=story.address,
                ended=story.ended,
                code=story.reason_code,
            )
        if story.calling_ae:  # else nobody asked for anything: a probe of a load balancer
            self._logbook.note(asdict(story))


def _application_entity(settings: Settings) -> AE:
    ae = AE(ae_title=settings.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = 1 << 30  # the keeper counts, over all processes
    ae.network_timeout = settings.network_seconds
    ae.acse_timeout = settings.negotiation_seconds
    ae.dimse_timeout = settings.network_seconds
    return ae


def _without_delay(connection: socket.socket, seconds: float) -> None:
    """Small messages leave at once; a peer that reads nothing does not hold us for ever."""
    connection.setblocking(True)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds) + 1, 0)
    )
