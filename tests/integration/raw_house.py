"""The listener's associations in this process, over a pair of sockets: no TCP, no process."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pynetdicom import AE, _config, build_context

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.listener.association import Story, StreamingAssociation
from deepbrainprint.intake.listener.library import configure_pynetdicom
from deepbrainprint.intake.listener.storing import StoreAnswer, StoreOperation
from deepbrainprint.intake.part10 import Request, read_delivery
from deepbrainprint.settings import Settings
from tests.integration.raw_peer import EXPLICIT, IMPLICIT, MR_IMAGE, VERIFICATION

_NOBODY = "postgresql://nobody@/nothing?host=/nonexistent"
_MEMORY = Path("/dev/shm")
_FITS = 1 << 16  # lies between two sockets without anybody reading
_OFFERED = (build_context(VERIFICATION, IMPLICIT), build_context(MR_IMAGE, EXPLICIT))


class RawHouse:
    """What an association asks of its process. PostgreSQL is away: the journal takes the names."""

    def __init__(self, settings: Settings) -> None:
        self.ae = AE(ae_title=settings.ae_title)
        self.ae.maximum_pdu_size = settings.maximum_pdu_bytes
        self.ae.network_timeout = self.ae.dimse_timeout = settings.network_seconds
        self.ae.acse_timeout = settings.negotiation_seconds
        self.settings = settings
        self.answers: list[StoreAnswer] = []
        self._filing = Filing(settings, Database(_NOBODY))

    def receive(self, association: StreamingAssociation) -> None:
        """Everybody may come in."""
        association.acceptor.supported_contexts = list(_OFFERED)

    def opened(self, association: StreamingAssociation) -> None:
        """Nothing to do."""

    def begin_store(self, association: StreamingAssociation, request: Request) -> StoreOperation:  # noqa: ARG002
        """Take in one instance."""
        return StoreOperation(self._filing, request)

    def answered(
        self,
        association: StreamingAssociation,  # noqa: ARG002
        answer: StoreAnswer,
        seconds: float,  # noqa: ARG002
    ) -> None:
        """Remember it."""
        self.answers.append(answer)

    def closed(self, association: StreamingAssociation) -> None:
        """Nothing to do."""

    def hear(self, said: bytes) -> tuple[Story, bytes]:
        """Live through an association whose peer says this and hangs up; its story, our answers."""
        ours, theirs = socket.socketpair()
        with theirs:
            feeder = threading.Thread(target=_feed, args=(theirs, said), daemon=True)
            if len(said) <= _FITS:
                feeder.run()
            else:
                feeder.start()
            story = self.live(ours)
            return story, _all_of(theirs)

    def live(self, connection: Any) -> Story:
        """Live through the association on a connection."""
        story = Story(address="127.0.0.1", is_encrypted=False)
        StreamingAssociation(self, connection, story).run_reactor()
        return story

    def kept(self) -> dict[str, bytes]:
        """Data sets on disk by their SOP Instance UID."""
        files = self.settings.instances_folder.rglob("*.dcm")
        deliveries = [read_delivery(file) for file in files]
        return {sent.sop_instance_uid: sent.data_set for sent in deliveries}

    def taken(self) -> list[bytes]:
        """Data sets that came since the last call, as the journal tells; they are removed."""
        return [self._take(path) for path in self._filing.journal.waiting(1000)]

    def _take(self, path: Path) -> bytes:
        file = self.settings.instances_folder / path
        data_set = read_delivery(file).data_set
        file.unlink()
        self._filing.journal.forget(path)
        return data_set

    def aside(self) -> list[bytes]:
        """Data sets in quarantine."""
        files = self.settings.quarantine_folder.glob("*.dcm")
        return [_data_set_of(file) for file in files]

    def forget(self) -> None:
        """Begin anew with empty folders."""
        self.answers.clear()
        for folder in (self.settings.instances_folder, self.settings.quarantine_folder):
            shutil.rmtree(folder)
        shutil.rmtree(self.settings.journal_folder)
        spool.prepare(self.settings)


@contextmanager
def raw_house(**changes: Any) -> Iterator[RawHouse]:
    """A house whose home is in memory where there is such a place."""
    before = dict(_config.VALIDATORS)
    configure_pynetdicom()
    logging.disable(logging.CRITICAL)  # pytest would keep each record, and all that hangs on it
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dbp-raw-", dir=parent) as folder:
        settings = Settings(
            home=Path(folder),
            database_url=SecretStr(_NOBODY),
            **{"minimum_free_bytes": 0, "network_seconds": 5.0, "negotiation_seconds": 5.0}
            | changes,
        )
        spool.prepare(settings)
        yield RawHouse(settings)
    logging.disable(logging.NOTSET)
    _config.VALIDATORS.update(before)


def descriptors(process: int | str = "self") -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def threads(process: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{process}/task").iterdir()))


def resident_bytes(process: int | str = "self") -> int:
    """Memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _data_set_of(file: Path) -> bytes:
    try:
        return read_delivery(file).data_set
    except BadStudy as error:
        raise AssertionError(file) from error


def _feed(theirs: socket.socket, said: bytes) -> None:
    with suppress(OSError):  # they hung up on us
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)


def _all_of(connection: socket.socket) -> bytes:
    said = bytearray()
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            said += part
    return bytes(said)
