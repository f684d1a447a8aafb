"""Requesters of storage commitment, and a listener that offers it, for tests."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt

from deepbrainprint.intake.commitment.desk import CommitmentDesk
from deepbrainprint.intake.commitment.report import PUSH_MODEL, PUSH_MODEL_INSTANCE
from tests.integration.services import free_port

SAME_PLACE = "127.0.0.1"
Report = tuple[int, Dataset]


@dataclass
class Requester:
    """A modality that asks for commitment and takes reports on a port of its own."""

    port: int
    listens: bool = True
    status: int = 0x0000
    roles: dict[str, bool] = field(default_factory=lambda: {"scu_role": False, "scp_role": True})
    before_answer: Callable[[], None] = lambda: None
    reports: queue.Queue[Report] = field(default_factory=queue.Queue)
    proposed: list[tuple[bool, bool]] = field(default_factory=list)  # SCU role, SCP role
    _server: Any = None

    def start(self) -> None:
        ae = AE("SCANNER")
        ae.add_supported_context(PUSH_MODEL, **self.roles)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.take)]
        self._server = ae.start_server((SAME_PLACE, self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def take(self, event: evt.Event) -> tuple[int, None]:
        self.before_answer()
        role = event.assoc.requestor.role_selection.get(PUSH_MODEL)
        self.proposed.append((role.scu_role, role.scp_role) if role else (True, False))
        self.reports.put((event.event_type, event.event_information))
        return self.status, None

    def report(self, *, seconds: float = 20.0) -> Report:
        return self.reports.get(timeout=seconds)


@contextmanager
def open_door(
    desk: CommitmentDesk, opened: Callable[[evt.Event], None] = lambda _: None
) -> Iterator[int]:
    """Port of a listener that takes storage commitment requests and nothing else."""
    ae = AE("DEEPBRAINPRINT")
    ae.add_supported_context(PUSH_MODEL)
    port = free_port()
    handlers = [(evt.EVT_N_ACTION, desk.handler), (evt.EVT_ACCEPTED, opened)]
    server = ae.start_server((SAME_PLACE, port), block=False, evt_handlers=handlers)
    yield port
    server.shutdown()


def offer_call_soon(event: evt.Event) -> None:
    """Give one association of pynetdicom what our own associations have."""
    association, soon = event.assoc, []
    serve = association._serve_request

    def serve_and_call(message: Any, context_id: int) -> None:
        serve(message, context_id)
        association._is_paused = True
        while soon and association.is_established:
            soon.pop(0)()

    def is_quiet(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while association.is_established and association.dimse.msg_queue.empty():
            if association.dul.peek_next_pdu() is not None:
                return False
            if time.monotonic() >= deadline:
                return True
            time.sleep(0.005)
        return False

    association._serve_request = serve_and_call
    association.call_soon = soon.append
    association.is_quiet = is_quiet


def wanted(*images: Dataset, transaction_uid: str = "") -> Dataset:
    """The action information that asks for images."""
    asked = Dataset()
    asked.TransactionUID = transaction_uid or generate_uid()
    asked.ReferencedSOPSequence = []
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID = image.SOPClassUID
        item.ReferencedSOPInstanceUID = image.SOPInstanceUID
        asked.ReferencedSOPSequence.append(item)
    return asked


def associate(port: int, *, handlers: Any = ()) -> Any:
    """An open association of the requester."""
    ae = AE("SCANNER")
    ae.dimse_timeout = 10
    association = ae.associate(
        SAME_PLACE, port, contexts=[build_context(PUSH_MODEL)], evt_handlers=list(handlers)
    )
    assert association.is_established
    return association


def ask(
    port: int, asked: Dataset | None, *, action: int = 1, instance: str = PUSH_MODEL_INSTANCE
) -> Dataset:
    """Ask and release at once; the answer."""
    association = associate(port)
    status, _ = association.send_n_action(asked, action, PUSH_MODEL, instance)
    association.release()
    return status


def uids(sequence: Any) -> list[str]:
    """Instances that a sequence of a report names."""
    return [item.ReferencedSOPInstanceUID for item in sequence]


def failures(report: Dataset) -> dict[str, int]:
    """Instances that a report does not commit, with the reason of each."""
    return {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
