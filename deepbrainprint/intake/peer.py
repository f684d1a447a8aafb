"""Another application entity that we call: its address, our titles, and how to associate."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from deepbrainprint.errors import Misconfigured

CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
USUAL_PDU_BYTES = 16382  # that we take; of little matter where the other side sends little

Handler = tuple[Any, Callable[..., Any]]


@dataclass(frozen=True)
class Peer:
    """Where a receiver is and under which titles the two speak; with `tls` in TLS."""

    host: str
    port: int
    called_ae: str
    calling_ae: str
    tls: ssl.SSLContext | None = None
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS

    def __str__(self) -> str:
        return f"{self.host}:{self.port} (called AE {self.called_ae})"

    def associate(
        self,
        contexts: Sequence[PresentationContext],
        handlers: Sequence[Handler] = (),
        *,
        roles: Sequence[Any] = (),
        maximum_pdu_bytes: int = USUAL_PDU_BYTES,
    ) -> Association:
        """Ask for an association; it may come back refused, aborted or not connected.

        Misconfigured when the host, port or a title is impossible.
        """
        if not 0 < self.port < 2**16:
            raise self._impossible()
        try:
            return self._entity().associate(
                self.host,
                self.port,
                list(contexts),
                ae_title=self.called_ae,
                evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay), *handlers],
                max_pdu=maximum_pdu_bytes,
                ext_neg=list(roles),
                tls_args=None if self.tls is None else (self.tls, self.host),
            )
        except (ValueError, TypeError, OSError) as error:
            raise self._impossible() from error

    def _entity(self) -> AE:
        entity = AE(ae_title=self.calling_ae)
        entity.connection_timeout = self.connect_seconds
        entity.acse_timeout = self.connect_seconds
        entity.dimse_timeout = self.answer_seconds
        entity.network_timeout = self.answer_seconds
        return entity

    def _impossible(self) -> Misconfigured:
        return Misconfigured(
            f"cannot send to {self}; correct the host, port or AE title",
            code="bad_receiver_address",
        )


def _without_delay(event: evt.Event) -> None:
    """Small messages leave at once: Nagle's algorithm would hold each answer back."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
