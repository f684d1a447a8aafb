"""A DICOM peer on a bare socket: it speaks as PS3.7 and PS3.8 say, or as wrongly as it is told."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

VERIFICATION = "1.2.840.10008.1.1"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
ECHO_CONTEXT, MR_CONTEXT = 1, 3

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, DATA, LAST_COMMAND, LAST_DATA = 0x01, 0x00, 0x03, 0x02


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _even(text: str) -> bytes:
    value = text.encode("latin-1")
    return value + b"\0" * (len(value) % 2)


def _number(value: int) -> bytes:
    return struct.pack("<H", value)


Context = tuple[int, str, Sequence[str]]
CONTEXTS: list[Context] = [
    (ECHO_CONTEXT, VERIFICATION, [IMPLICIT]),
    (MR_CONTEXT, MR_IMAGE, [EXPLICIT]),
]


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """One PDU; `length` is what it says of itself, if that is not so."""
    return struct.pack(">BxL", kind, len(body) if length is None else length) + body


def pdv(context: int, control: int, data: bytes, *, length: int | None = None) -> bytes:
    """One presentation data value; `length` is what it says of itself, if that is not so."""
    said = len(data) + 2 if length is None else length
    return struct.pack(">LBB", said, context, control) + data


def p_data(*values: bytes, length: int | None = None) -> bytes:
    """One P-DATA-TF PDU with these presentation data values."""
    return pdu(P_DATA, b"".join(values), length=length)


RELEASE = pdu(RELEASE_RQ, bytes(4))
ABORTED = pdu(ABORT, bytes(4))


def associate_rq(
    contexts: Iterable[Context] = CONTEXTS,
    *,
    calling: bytes = b"RAW-PEER",
    called: bytes = b"DEEPBRAINPRINT",
    largest_pdu: int = 1 << 18,
    user_items: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    offered = b"".join(
        _item(
            0x20,
            struct.pack(">Bxxx", number)
            + _item(0x30, abstract.encode())
            + b"".join(_item(0x40, syntax.encode()) for syntax in syntaxes),
        )
        for number, abstract, syntaxes in contexts
    )
    user = _item(0x51, struct.pack(">L", largest_pdu)) + _item(0x52, b"1.2.3.4") + user_items
    titles = called.ljust(16) + calling.ljust(16)
    body = struct.pack(">Hxx", 1) + titles + bytes(32)
    application = _item(0x10, b"1.2.840.10008.3.1.1.1")
    return pdu(ASSOCIATE_RQ, body + application + offered + _item(0x50, user))


def element(number: int, value: bytes, *, length: int | None = None) -> bytes:
    """One element of a command set, which is implicit VR little endian."""
    return struct.pack("<HHL", 0, number, len(value) if length is None else length) + value


def command_set(*elements: bytes, group_length: int | None = None) -> bytes:
    """A command set with its group length in front."""
    body = b"".join(elements)
    said = len(body) if group_length is None else group_length
    return element(0x0000, struct.pack("<L", said)) + body


def store_rq(
    sop_instance_uid: str, *, sop_class_uid: str = MR_IMAGE, message: int = 1, data_set: int = 0
) -> bytes:
    """The command set of a C-STORE-RQ."""
    return command_set(
        element(0x0002, _even(sop_class_uid)),
        element(0x0100, _number(0x0001)),
        element(0x0110, _number(message)),
        element(0x0700, _number(0)),
        element(0x0800, _number(data_set)),
        element(0x1000, _even(sop_instance_uid)),
    )


def request(field: int, *, sop_class_uid: str, message: int = 1, data_set: int = 0x0101) -> bytes:
    """The command set of another request: C-ECHO-RQ is 0x0030, N-ACTION-RQ 0x0130."""
    return command_set(
        element(0x0002, _even(sop_class_uid)),
        element(0x0100, _number(field)),
        element(0x0110, _number(message)),
        element(0x0800, _number(data_set)),
    )


def cancel_rq(message: int) -> bytes:
    """The command set of a C-CANCEL-RQ."""
    return command_set(
        element(0x0100, _number(0x0FFF)),
        element(0x0120, _number(message)),
        element(0x0800, _number(0x0101)),
    )


ECHO = request(0x0030, sop_class_uid=VERIFICATION)


def message(context: int, command: bytes, data_set: bytes = b"", *, pdv_bytes: int = 0) -> bytes:
    """A whole message; its data set is cut into values of `pdv_bytes`, each in a PDU of its own."""
    said = p_data(pdv(context, LAST_COMMAND, command))
    step = pdv_bytes or max(1, len(data_set))
    for start in range(0, len(data_set), step):
        control = LAST_DATA if start + step >= len(data_set) else DATA
        said += p_data(pdv(context, control, data_set[start : start + step]))
    return said


class RawPeer:
    """A connection to a listener. Waits at most `patience_seconds` for what it is to read."""

    def __init__(self, port: int, *, patience_seconds: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience_seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, said: bytes) -> Self:
        """Send bytes as they are."""
        self.socket.sendall(said)
        return self

    def associate(self, contexts: Iterable[Context] = CONTEXTS) -> Self:
        """Open an association in order."""
        kind, body = self.send(associate_rq(contexts)).answer()
        assert kind == ASSOCIATE_AC, (kind, body)
        return self

    def answer(self) -> tuple[int, bytes]:
        """The next PDU of the other side, its type and body; (0, b"") when it hung up instead."""
        try:
            kind, length = struct.unpack(">BxL", self._exactly(6))
            return kind, self._exactly(length)
        except (ConnectionError, EOFError):
            return 0, b""

    def status(self) -> int:
        """The status of the next response."""
        kind, body = self.answer()
        assert kind == P_DATA, (kind, body)
        return status_of(body)

    def store(self, sop_instance_uid: str, data_set: bytes, *, pdv_bytes: int = 0) -> int:
        """Send one instance in order; the status of its answer."""
        command = store_rq(sop_instance_uid)
        self.send(message(MR_CONTEXT, command, data_set, pdv_bytes=pdv_bytes))
        return self.status()

    def release(self) -> None:
        """End the association in order."""
        assert self.send(RELEASE).answer()[0] == RELEASE_RP
        self.socket.close()

    def reset(self) -> None:
        """Cut the connection with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts


def status_of(body: bytes) -> int:
    """The status in the body of a P-DATA-TF PDU that holds one response."""
    position = 6
    while position < len(body):
        _, number, length = struct.unpack_from("<HHL", body, position)
        if number == 0x0900:
            return int.from_bytes(body[position + 8 : position + 10], "little")
        position += 8 + length
    raise AssertionError(body)


def pdus_of(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each PDU in a stream; the last body may be cut off."""
    position = 0
    while position + 6 <= len(stream):
        kind, length = struct.unpack_from(">BxL", stream, position)
        yield kind, stream[position + 6 : position + 6 + length]
        position += 6 + length


def data_sets_of(stream: bytes) -> list[bytes]:
    """Each run of data values up to one that says that it is the last, wherever it stands."""
    whole, parts = [], b""
    for kind, body in pdus_of(stream):
        for control, data in _values_of(body) if kind == P_DATA else ():
            if control & 1:
                parts = b""
                continue
            parts += data
            if control & 2:
                whole.append(parts)
                parts = b""
    return whole


def _values_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 6 <= len(body):
        length, _, control = struct.unpack_from(">LBB", body, position)
        position += 4 + max(2, length)
        if position <= len(body):
            yield control, body[position + 2 - max(2, length) : position]
