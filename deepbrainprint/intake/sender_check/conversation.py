"""Associations that are explained when they do not come about (PS3.8 §9.3)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.presentation import build_context

from deepbrainprint.intake.peer import Handler, Peer
from deepbrainprint.intake.sender_check import explanations
from deepbrainprint.intake.sender_check.explanations import Explanation, Refused, Unreachable
from deepbrainprint.intake.sender_check.transport import speaks_tls

_config.LOG_HANDLER_LEVEL = "none"  # its own log would format every message

_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TLS_EXPECTED = Explanation(
    "tls_expected",
    "port {port} speaks TLS only, and we spoke in plain DICOM",
    "Switch TLS on at the modality (here: --tls), or give the receiver's plain port.",
)


@contextmanager
def conversation(
    peer: Peer, sop_class: str, service: str, handlers: Sequence[Handler] = ()
) -> Iterator[Association]:
    """An association for one service, released at the end.

    Refused when the receiver does not offer `service`; Unreachable when there is no association.
    """
    endings: list[Explanation] = []
    wanted = build_context(sop_class, _SYNTAXES)
    noting = (evt.EVT_PDU_RECV, lambda event: _note_ending(event, endings))
    started = time.monotonic()
    association = peer.associate([wanted], [noting, *handlers])
    if not association.is_established:
        raise _why(peer, association, service, endings, time.monotonic() - started)
    try:
        yield association
        association.release()
    finally:
        if association.is_established:
            association.abort()


def facts_of(peer: Peer) -> dict[str, object]:
    """What explanations say of a peer."""
    return {
        "host": peer.host,
        "port": peer.port,
        "calling": peer.calling_ae,
        "called": peer.called_ae,
    }


def status_of(response: Any) -> int:
    """The status of a response. Refused with code `no_response` when none came."""
    if "Status" not in response:
        raise Refused(
            Explanation(
                "no_response",
                "the receiver broke the association off, or did not answer in time",
                "Look into the receiver's log of this minute.",
            )
        )
    return int(response.Status)


def require_success(response: Any, peer: Peer) -> int:
    """The status of a response, success or a warning. Refused explains any other."""
    status = status_of(response)
    if status and not explanations.is_warning(status):
        comment = str(response.get("ErrorComment") or "")
        raise Refused(explanations.status(status, comment, facts_of(peer)))
    return status


def _note_ending(event: evt.Event, endings: list[Explanation]) -> None:
    """Keep what a refusal or an abort said; pynetdicom fails at those that PS3.8 does not list."""
    pdu: Any = event.pdu
    if isinstance(pdu, A_ABORT_RQ):
        endings.append(explanations.abort(pdu.source or 0, pdu.reason_diagnostic or 0))
    elif isinstance(pdu, A_ASSOCIATE_RJ):
        triple = pdu.result or 0, pdu.source or 0, pdu.reason_diagnostic or 0
        endings.append(explanations.rejection(*triple))
        if not explanations.is_listed_rejection(*triple):
            pdu.result, pdu.source, pdu.reason_diagnostic = 1, 1, 1


def _why(
    peer: Peer,
    association: Association,
    service: str,
    endings: list[Explanation],
    seconds: float,
) -> Refused:
    answer: Any = association.acceptor.primitive
    if association.is_rejected:
        return Unreachable(endings[-1].about(**facts_of(peer)))
    if answer is not None:
        results = [int(context.result or 0) for context in association.rejected_contexts]
        return Refused(explanations.no_context(results[0] if results else 0, service))
    return Unreachable(_no_answer(peer, endings, seconds))


def _no_answer(peer: Peer, endings: list[Explanation], seconds: float) -> Explanation:
    if peer.tls is None and speaks_tls(
        peer.host, peer.port, patience_seconds=min(3.0, peer.connect_seconds)
    ):
        return _TLS_EXPECTED.about(**facts_of(peer))
    if endings:
        return endings[-1]
    if seconds >= peer.connect_seconds:
        return Explanation(
            "no_association_answer",
            f"port {peer.port} is open, but nothing answers in DICOM within {seconds:.0f} s",
            "Check that the port belongs to the DICOM receiver; if it does, restart the receiver.",
        )
    return Explanation(
        "connection_closed",
        "the receiver closed the connection without a word",
        "Check that the port belongs to a DICOM receiver and that no firewall or address list "
        "cuts the connection; then look into the receiver's log.",
    )
