"""Receivers that behave as a test wants them to, and what `check-sender` finds of them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.sender_check.steps import Finding, all_well, check_sender
from deepbrainprint.intake.tls import client_context, server_context
from deepbrainprint.settings import Settings
from tests.certificates import Pair

HOST = "127.0.0.1"


def check(
    port: int, host: str = HOST, tls: ssl.SSLContext | None = None, **options: Any
) -> dict[str, Finding]:
    """The findings of a check by the name of their step."""
    patience = options.pop("patience", 5.0)
    peer = Peer(host, port, "ARCHIVE", "MR1", tls, patience, patience)
    options.setdefault("report_seconds", 1.0)
    return {finding.step: finding for finding in check_sender(peer, **options)}


def outcomes(found: dict[str, Finding]) -> dict[str, str]:
    return {step: str(finding.outcome) for step, finding in found.items()}


def first_failure(found: dict[str, Finding]) -> Finding:
    assert not all_well(list(found.values()))
    return next(finding for finding in found.values() if finding.outcome == "failed")


def reports(event: evt.Event, transaction: Dataset, reason: int | None) -> None:
    """Answer a commitment request on its own association."""
    report = Dataset()
    report.TransactionUID = transaction.TransactionUID
    items = [Dataset() for _ in transaction.ReferencedSOPSequence]
    for item, asked in zip(items, transaction.ReferencedSOPSequence, strict=True):
        item.update(asked)
        if reason is not None:
            item.FailureReason = reason
    setattr(report, "ReferencedSOPSequence" if reason is None else "FailedSOPSequence", items)
    event.assoc.send_n_event_report(
        report,
        1 if reason is None else 2,
        StorageCommitmentPushModel,
        StorageCommitmentPushModelInstance,
    )


class Archive:
    """How a receiver behaves; the default does all that a modality may wish."""

    def __init__(self, **behaviour: Any) -> None:
        self.services = [Verification, SecondaryCaptureImageStorage, StorageCommitmentPushModel]
        self.services.append(StudyRootQueryRetrieveInformationModelFind)
        self.store: Callable[[evt.Event], Any] = lambda _: 0x0000
        self.action_status = 0x0000
        self.failure: int | None = None
        self.reports = True
        self.matches = 1
        self.find_status = 0x0000
        self.entity: dict[str, Any] = {}
        self.context: ssl.SSLContext | None = None
        vars(self).update(behaviour)

    def act(self, event: evt.Event) -> tuple[int, None]:
        if self.reports and not self.action_status:
            arguments = (event, event.action_information, self.failure)
            threading.Thread(target=reports, args=arguments).start()
        return self.action_status, None

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for _ in range(self.matches):
            match = Dataset()
            match.QueryRetrieveLevel = "STUDY"
            match.StudyInstanceUID = event.identifier.StudyInstanceUID
            yield 0xFF00, match
        yield self.find_status, None

    @contextmanager
    def open(self) -> Iterator[int]:
        entity = AE("ARCHIVE")
        for service in self.services:
            entity.add_supported_context(service)
        for name, value in self.entity.items():
            setattr(entity, name, value)
        handlers = [
            (evt.EVT_C_STORE, self.store),
            (evt.EVT_N_ACTION, self.act),
            (evt.EVT_C_FIND, self.find),
        ]
        server = entity.start_server(
            (HOST, 0), block=False, evt_handlers=handlers, ssl_context=self.context
        )
        yield server.socket.getsockname()[1]
        server.shutdown()


def without(service: str) -> list[str]:
    return [one for one in Archive().services if one != service]


def behind_tls(pair: Pair, **more: Any) -> Archive:
    settings = Settings(tls_certificate=pair.certificate, tls_key=pair.key, **more)
    return Archive(context=server_context(settings))


def trusting(hospital: Pair, shown: Pair | None = None) -> ssl.SSLContext:
    return client_context(
        Settings(
            tls_client_authority=hospital.certificate,
            tls_certificate=shown and shown.certificate,
            tls_key=shown and shown.key,
        )
    )


@contextmanager
def raw_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that is no DICOM receiver."""
    server = socket.create_server((HOST, 0))
    server.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=behave, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    stop.set()
    thread.join()
    server.close()


def silence(connection: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while connection.recv(4096):
            pass


def hang_up(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.close()


def abort_with(source: int, reason: int) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        if connection.recv(4096):
            connection.sendall(bytes([7, 0, 0, 0, 0, 4, 0, 0, source, reason]))
            silence(connection)

    return behave
