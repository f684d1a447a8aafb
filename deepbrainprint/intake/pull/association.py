"""Associations with a PACS that we ask (PS3.8), and what their failures mean."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom import Dataset
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from deepbrainprint.errors import DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.intake.peer import Handler, Peer

ANSWER_SECONDS = 120.0  # a PACS may have to bring a study from its archive first
PACS_FAILED = "pacs_failed"
_LARGEST_PDU_BYTES = 1 << 20


def quieten_libraries() -> None:
    """Nothing that a PACS answers reaches a log or warning of a library."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.VALIDATORS["UI"] = lambda _: (True, "")  # a bad UID is refused by us, not by an abort
    warnings.filterwarnings("ignore", module="pydicom|pynetdicom")
    for name in ("httpx", "httpcore", "pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Handler] = (),
) -> Iterator[Association]:
    """An association that is released, or aborted when something goes wrong.

    TryAgain with code `pacs_away` or `pacs_refused`; Misconfigured for an impossible address.
    """
    linked = peer.associate(contexts, handlers, roles=roles, maximum_pdu_bytes=_LARGEST_PDU_BYTES)
    if not linked.is_established:
        raise _refusal(linked, peer)
    try:
        yield linked
        if linked.is_established:
            linked.release()
    finally:
        if linked.is_established:
            linked.abort()


def require_context(linked: Association, peer: Peer, model: str, what: str) -> None:
    """Misconfigured with code `not_offered` when the PACS does not do what we need of it."""
    if all(str(context.abstract_syntax) != model for context in linked.accepted_contexts):
        raise Misconfigured(
            f"{peer} offers no {what}: choose another --by, or allow it there for AE "
            f"{peer.calling_ae}",
            code="not_offered",
        )


def status_of(response: Dataset, peer: Peer) -> int:
    """The status of a response. TryAgain with code `pacs_broke_off` when none came."""
    if "Status" not in response:
        raise broke_off(peer)
    return int(response.Status)


def refused_with(peer: Peer, what: str, status: int) -> TryAgain:
    """The error of a service that ended with a failure status."""
    return TryAgain(
        f"{peer} ended {what} with status 0x{status:04X}: look into its log", code=PACS_FAILED
    )


def broke_off(peer: Peer) -> TryAgain:
    """The error of an association that ended too early."""
    return TryAgain(f"{peer} broke off or stopped answering", code="pacs_broke_off")


def _refusal(linked: Association, peer: Peer) -> DeepBrainPrintError:
    if linked.is_rejected:
        return TryAgain(
            f"{peer} refuses an association from AE {peer.calling_ae}: make that title known there",
            code="pacs_refused",
        )
    if linked.acceptor.primitive is not None:
        return Misconfigured(
            f"{peer} accepts no query or retrieve from AE {peer.calling_ae}: allow it there",
            code="not_offered",
        )
    return _away(peer)


def _away(peer: Peer) -> TryAgain:
    return TryAgain(
        f"{peer} does not answer: start it, or correct host, port or TLS", code="pacs_away"
    )
