"""Asking a receiver to commit itself to keeping an object (storage commitment SCU, PS3.4 Annex J).

The answer comes in an N-EVENT-REPORT, on the same association or on one that the receiver opens.
"""

from __future__ import annotations

import queue
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.sender_check import explanations
from deepbrainprint.intake.sender_check.conversation import conversation, facts_of, require_success
from deepbrainprint.intake.sender_check.explanations import Explanation, Refused

SERVICE = "storage commitment"

_REQUEST_COMMITMENT = 1  # action type, PS3.4 Table J.3-1
_PROCESSING_FAILURE = 0x0110


class _Inbox:
    """Reports of the receiver, whichever way they come."""

    def __init__(self) -> None:
        self._reports: queue.Queue[Dataset] = queue.Queue()

    def take_in(self, event: evt.Event) -> tuple[int, None]:
        """EVT_N_EVENT_REPORT."""
        self._reports.put(event.event_information)
        return 0x0000, None

    def report_on(self, transaction_uid: str, *, patience_seconds: float) -> Dataset | None:
        """The report on our transaction, or None when none comes in time."""
        until = time.monotonic() + patience_seconds
        while True:
            try:
                report = self._reports.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if report.get("TransactionUID") == transaction_uid:
                return report


def commit(
    peer: Peer,
    image: Dataset,
    *,
    report_port: int = 0,
    report_tls: ssl.SSLContext | None = None,
    patience_seconds: float,
) -> None:
    """Ask for commitment to a stored object, and wait for the receiver's word.

    A receiver that reports on a new association finds us on `report_port`; 0: we take none. Raises
    Refused when the receiver does not offer it, does not report in time or does not commit.
    """
    inbox = _Inbox()
    handler = (evt.EVT_N_EVENT_REPORT, inbox.take_in)
    request = _request(image)
    with (
        _open_for_reports(peer, inbox, report_port, report_tls),
        conversation(peer, StorageCommitmentPushModel, SERVICE, [handler]) as association,
    ):
        response, _ = association.send_n_action(
            request,
            _REQUEST_COMMITMENT,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        require_success(response, peer)
        report = inbox.report_on(request.TransactionUID, patience_seconds=patience_seconds)
    if report is None:
        raise Refused(_missing(peer, report_port, patience_seconds))
    _require_commitment(report, image, peer)


def _request(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    request = Dataset()
    request.TransactionUID = f"2.25.{uuid4().int}"
    request.ReferencedSOPSequence = [item]
    return request


@contextmanager
def _open_for_reports(
    peer: Peer, inbox: _Inbox, port: int, tls: ssl.SSLContext | None
) -> Iterator[None]:
    if not port:
        yield
        return
    entity = AE(ae_title=peer.calling_ae)
    entity.add_supported_context(Verification)
    # The receiver calls us but stays the provider: roles are the other way round (PS3.4 J.3.3).
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, inbox.take_in)]
    try:
        server: Any = entity.start_server(
            ("0.0.0.0", port),  # noqa: S104 — the receiver is another machine
            block=False,
            evt_handlers=handlers,
            ssl_context=tls,
        )
    except OSError as error:
        raise Refused(_port_taken(port, str(error.strerror))) from None
    try:
        yield
    finally:
        server.shutdown()


def _require_commitment(report: Dataset, image: Dataset, peer: Peer) -> None:
    kept = [item.ReferencedSOPInstanceUID for item in report.get("ReferencedSOPSequence") or []]
    if image.SOPInstanceUID in kept:
        return
    reasons = [
        int(item.get("FailureReason") or _PROCESSING_FAILURE)
        for item in report.get("FailedSOPSequence") or []
        if item.get("ReferencedSOPInstanceUID") == image.SOPInstanceUID
    ]
    if reasons:
        raise Refused(explanations.commitment_failure(reasons[0], facts_of(peer)))
    raise Refused(
        Explanation(
            "commitment_report_incomplete",
            "the receiver's report does not mention the object",
            "Report this to the receiver's maker: it breaks PS3.4 J.3.3.",
        )
    )


def _missing(peer: Peer, report_port: int, seconds: float) -> Explanation:
    words = f"the receiver took the request, but no report came within {seconds:.0f} s"
    if report_port:
        return Explanation(
            "commitment_report_missing",
            words,
            f"Enter at the receiver: AE title {peer.calling_ae}, this machine's address, port "
            f"{report_port}. Then open that port in this machine's firewall.",
        )
    return Explanation(
        "commitment_report_missing",
        f"{words} on the same association",
        f"Many receivers call back. Enter AE title {peer.calling_ae}, this machine's address and "
        "a free port at the receiver, and give that port with --report-port.",
    )


def _port_taken(port: int, why: str) -> Explanation:
    return Explanation(
        "report_port_taken",
        f"this machine cannot open port {port} for the receiver's report ({why})",
        "Give another --report-port, and enter it at the receiver too.",
    )
