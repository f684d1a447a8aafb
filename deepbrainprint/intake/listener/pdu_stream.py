"""The bytes of one connection, PDU by PDU (DICOM PS3.8 §9.3), handed on as they come.

Large PDUs are never held whole: what a data set costs in memory does not depend on its size.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

_BUFFER_BYTES = 1 << 18  # two PDUs as DCMTK sends them
_PDU_HEADER = struct.Struct(">BxL")
_PDV_HEADER = struct.Struct(">LBB")
_TIME_VALUE = struct.Struct("ll")

PDU_HEADER_BYTES = 6
PDV_HEADER_BYTES = 6


class PeerGone(Exception):
    """The connection ended, or nothing came in time; `how` says which, for programs."""

    def __init__(self, how: str) -> None:
        self.how = how
        super().__init__(how)


class ProtocolViolation(Exception):
    """The peer broke the upper layer's rules; `reason` is that of an A-P-ABORT (PS3.8 9.3.8)."""

    def __init__(self, reason: int) -> None:
        self.reason = reason
        super().__init__(f"reason {reason}")


@dataclass(frozen=True)
class Fragment:
    """Head of one presentation data value (PS3.8 §9.3.5.1, Annex E.2); its bytes come next."""

    context_id: int
    is_command: bool
    is_last: bool
    size: int


class PduStream:
    """Reads from a connected socket, with a time for each PDU to come whole.

    `pdu_seconds` bounds one PDU from its first byte to its last, so that a peer that sends a byte
    now and then does not hold an association for ever. The methods raise PeerGone.
    """

    def __init__(self, connection: socket.socket, *, pdu_seconds: float) -> None:
        self._connection = connection
        self._pdu_seconds = pdu_seconds
        self._deadline = float("inf")
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._patience = -1.0
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def next_pdu(self, idle_seconds: float, *, pdu_seconds: float | None = None) -> tuple[int, int]:
        """Type and length of the next PDU, awaited for `idle_seconds`; its body is to be read."""
        pdu_seconds = pdu_seconds or self._pdu_seconds
        self._deadline = float("inf")
        if self._start == self._end:
            self._wait_at_most(idle_seconds)
            self._fill()
        self._wait_at_most(pdu_seconds)
        self._deadline = time.monotonic() + pdu_seconds
        kind, length = _PDU_HEADER.unpack(self.read(PDU_HEADER_BYTES))
        return kind, length

    def next_fragment(self) -> Fragment:
        """The head of the next value inside a P-DATA-TF PDU. ProtocolViolation if it is none."""
        length, context_id, control = _PDV_HEADER.unpack(self.read(PDV_HEADER_BYTES))
        if length < 2:
            raise ProtocolViolation(0x06)
        return Fragment(context_id, bool(control & 1), bool(control & 2), length - 2)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        if self._end - self._start >= size:
            start, self._start = self._start, self._start + size
            return bytes(self._view[start : self._start])
        return b"".join(map(bytes, self.parts(size)))

    def parts(self, size: int) -> Iterator[memoryview]:
        """Exactly `size` bytes in pieces, each of which is valid until the next one is asked."""
        while size:
            if self._start == self._end:
                self._fill()
            length = min(size, self._end - self._start)
            start, self._start = self._start, self._start + length
            size -= length
            yield self._view[start : self._start]

    def skip(self, size: int) -> None:
        """Read and forget."""
        for _ in self.parts(size):
            pass

    def close(self) -> None:
        """Give the buffer back at once: the rest of an association waits for the collector."""
        self._view.release()
        self._buffer = bytearray()

    def has_more(self, seconds: float = 0.0) -> bool:
        """Whether bytes, or the end, have come that nobody has read, or come within `seconds`."""
        if self._start < self._end:
            return True
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return True
        return bool(self._poll.poll(seconds * 1000))

    def _fill(self) -> None:
        try:
            count = self._connection.recv_into(self._buffer)
        except (TimeoutError, BlockingIOError):
            raise PeerGone("silent") from None
        except OSError:
            raise PeerGone("lost") from None
        if count == 0:
            raise PeerGone("closed")
        if time.monotonic() > self._deadline:
            raise PeerGone("slow")
        self._start, self._end = 0, count

    def _wait_at_most(self, seconds: float) -> None:
        """Set the time for one read; by the kernel where we can, which saves a call each."""
        if seconds == self._patience:
            return
        self._patience = seconds
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.settimeout(seconds)
            return
        whole = int(seconds)
        value = _TIME_VALUE.pack(whole, int((seconds - whole) * 1e6))
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
