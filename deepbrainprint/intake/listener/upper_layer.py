"""pynetdicom's upper layer without its threads and its polling.

pynetdicom runs two threads for each association, and each looks every millisecond whether there
is something to do; that is what bounds its speed, not the work. Here the association's own thread
reads the socket and writes to it. Everything above (negotiation, service classes, handlers) is
pynetdicom's, and so are the encodings of all PDUs but the data of a C-STORE.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    P_DATA_TF,
)
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE, P_DATA
from pynetdicom.timer import Timer

from deepbrainprint.intake.listener.pdu_stream import PeerGone, ProtocolViolation

if TYPE_CHECKING:
    from deepbrainprint.intake.listener.association import StreamingAssociation


_LINGER_SECONDS = 2.0
_DROPPED_BYTES = 1 << 16


def _await_end(connection: socket.socket) -> None:
    """Drop what still comes until the peer has closed, within a bound."""
    deadline = time.monotonic() + _LINGER_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_DROPPED_BYTES):
            return


class UpperLayer:
    """Stands in for pynetdicom's DULServiceProvider; used by one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket: socket.socket | None = connection
        self.artim_timer = Timer(None)
        self._idle_timer = Timer(None)  # pynetdicom sets their times; nobody runs them

    def send_pdu(self, primitive: Any) -> None:
        """Send at once. PeerGone when the connection is no more."""
        pdu = _pdu_class(primitive)()
        pdu.from_primitive(primitive)
        self.send(pdu.encode())

    def send(self, encoded: bytes) -> None:
        """Send an encoded PDU. PeerGone when the connection is no more."""
        if self.socket is None:
            raise PeerGone("closed")
        try:
            self.socket.sendall(encoded)
        except (TimeoutError, BlockingIOError):
            raise PeerGone("silent") from None
        except OSError:
            raise PeerGone("lost") from None

    def close(self) -> None:
        """End the connection so that what was sent last still arrives.

        The peer closes first, as PS3.8 section 9.2 has it after a rejection, an abort or a release
        (Sta13): closing while bytes are on their way to us would take back what we sent.
        """
        connection, self.socket = self.socket, None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                _await_end(connection)
            connection.close()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002, ARG002 — pynetdicom's signature
        """Nothing: associations read PDUs themselves."""
        return

    def peek_next_pdu(self) -> None:
        """Nothing: associations read PDUs themselves."""
        return

    def is_alive(self) -> bool:
        """Whether a thread runs; there is none."""
        return False

    def kill_dul(self) -> None:
        """Nothing to kill."""

    def stop_dul(self) -> bool:
        """Nothing to stop."""
        return True


class Messages(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, fed by the association that owns it."""

    def __init__(self, association: StreamingAssociation) -> None:
        super().__init__(association)
        self._association = association
        self._waiting: deque[tuple[int, Any]] = deque()

    @property
    def has_waiting(self) -> bool:
        """Whether a message has come that nobody has taken."""
        return bool(self._waiting)

    def take(self, context_id: int, command: bytes, data: bytes) -> None:
        """Decode one whole message and keep it for `get_msg`; a C-CANCEL is noted at once.

        Any error of pynetdicom's decoders may come out of this.
        """
        parts: Any = P_DATA()
        values = [(b"\x03", command)] + ([(b"\x02", data)] if data else [])
        parts.presentation_data_value_list = [[context_id, head + body] for head, body in values]
        message = DIMSEMessage()
        message.decode_msg(parts, self._association)
        primitive = message.message_to_primitive()
        if isinstance(primitive, C_CANCEL):
            self.cancel_req[primitive.MessageIDBeingRespondedTo or 0] = primitive
        else:
            self._waiting.append((context_id, primitive))

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002 — pynetdicom's signature
        """The next message and its context id; with `block` read until one has come."""
        try:
            while block and not self._waiting and self._association.read_message():
                pass
        except (PeerGone, ProtocolViolation) as failure:
            self._association.fail(failure)
        return self._waiting.popleft() if self._waiting else (None, None)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message, then look whether the peer has cancelled what is going on."""
        try:
            super().send_msg(primitive, context_id)
            self._association.read_what_came()
        except (PeerGone, ProtocolViolation) as failure:
            self._association.fail(failure)


def _pdu_class(primitive: Any) -> Any:
    if isinstance(primitive, P_DATA):
        return P_DATA_TF
    if isinstance(primitive, A_ASSOCIATE):
        return A_ASSOCIATE_RJ if primitive.result else A_ASSOCIATE_AC
    if isinstance(primitive, A_RELEASE):
        return A_RELEASE_RQ if primitive.result is None else A_RELEASE_RP
    if isinstance(primitive, A_ABORT | A_P_ABORT):
        return A_ABORT_RQ
    raise TypeError(type(primitive).__name__)
