"""Times single C-STORE responses: a sender of our own, one process and socket an association.

`dcmsend` does not say how long each answer took. Run as a program with a JSON document on stdin,
it prints one: for each kind of object the seconds from its last byte being handed to the kernel to
its response, and how many responses were not Success. The association request is encoded by
pynetdicom; everything after it is a blocking socket with TCP_NODELAY.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from deepbrainprint.bench.objects import SENDER, SETS, ObjectSet, Series
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID

_CONTEXT = 1
_LARGEST_PDU = 1 << 17  # DCMTK's programs send no larger ones
_ACCEPTED, _DATA, _RELEASED = 2, 4, 6
_RELEASE_RQ = bytes.fromhex("05000000000400000000")
_STATUS = 0x0900
_PDV_HEADER_BYTES = 6
_PATIENCE_SECONDS = 120.0
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


@dataclass(frozen=True)
class Timed:
    """What one association found."""

    kind: str
    seconds: list[float]
    failures: int


def time_responses(order: Mapping[str, Any]) -> list[Timed]:
    """Send each load of `order` in a process of its own, all at one time."""
    context = multiprocessing.get_context("fork")  # all is loaded by now
    loads = order["loads"]
    start = context.Barrier(len(loads))
    ends, processes = [], []
    for association, load in enumerate(loads):
        ours, theirs = context.Pipe(duplex=False)
        series = Series(SETS[load["kind"]], order["tag"], association)
        job = (order["host"], order["port"], order["ae_title"], series, load["count"])
        process = context.Process(target=_run, args=(job, start, theirs), daemon=True)
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    found = [_received(end, load) for end, load in zip(ends, loads, strict=True)]
    for process in processes:
        process.join()
    return found


def _received(end: Connection, load: Mapping[str, Any]) -> Timed:
    try:
        timed: Timed = end.recv()
    except EOFError:  # it broke off
        return Timed(load["kind"], [], load["count"])
    return timed


def _run(job: tuple[str, int, str, Series, int], start: Barrier, end: Connection) -> None:
    host, port, ae_title, series, count = job
    seconds, failures = [], 0
    with socket.create_connection((host, port), timeout=_PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        largest = _associate(connection, ae_title, series.kind)
        start.wait(_PATIENCE_SECONDS)
        for number in range(count):
            message = b"".join(_message(series, number, largest))
            connection.sendall(message)
            began = time.perf_counter()
            answer = _read_pdu(connection, _DATA)
            seconds.append(time.perf_counter() - began)
            failures += not _is_success(answer)
        connection.sendall(_RELEASE_RQ)
        _read_pdu(connection, _RELEASED)
    end.send(Timed(series.kind.name, seconds, failures))


def _associate(connection: socket.socket, ae_title: str, kind: ObjectSet) -> int:
    """Negotiate one context; the largest PDU that the receiver takes."""
    connection.sendall(_request(ae_title, kind))
    body = _read_pdu(connection, _ACCEPTED)
    answer = A_ASSOCIATE_AC()
    answer.decode(struct.pack(">BxL", _ACCEPTED, len(body)) + body)
    primitive = answer.to_primitive()
    if primitive.presentation_context_definition_results_list[0].result != 0:
        raise ConnectionError("the receiver does not take this kind of object")
    return min(primitive.maximum_length_received or _LARGEST_PDU, _LARGEST_PDU)


def _request(ae_title: str, kind: ObjectSet) -> bytes:
    context = build_context(kind.sop_class_uid, ExplicitVRLittleEndian)
    context.context_id = _CONTEXT
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = _LARGEST_PDU
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = SENDER, ae_title
    primitive.user_information = [maximum, implementation]
    primitive.presentation_context_definition_list = [context]
    request = A_ASSOCIATE_RQ()
    request.from_primitive(primitive)
    return bytes(request.encode())


def _message(series: Series, number: int, largest: int) -> Iterator[bytes]:
    """The PDUs of one C-STORE-RQ (PS3.7 §9.3.1, PS3.8 §9.3.5)."""
    yield from _pdus(_command(series, number), 0x01, largest)
    yield from _pdus(b"".join(series.data_set(number)), 0x00, largest)


def _command(series: Series, number: int) -> bytes:
    body = (
        _element(0x0002, _uid(series.kind.sop_class_uid))
        + _element(0x0100, struct.pack("<H", 1))
        + _element(0x0110, struct.pack("<H", number % 0xFFFF + 1))
        + _element(0x0700, struct.pack("<H", 0))
        + _element(0x0800, struct.pack("<H", 1))
        + _element(0x1000, _uid(series.instance_uid(number)))
    )
    return _element(0x0000, struct.pack("<L", len(body))) + body


def _pdus(content: bytes, control: int, largest: int) -> Iterator[bytes]:
    step = largest - 6
    for start in range(0, len(content), step):
        piece = content[start : start + step]
        last = 0x02 if start + step >= len(content) else 0x00
        size = len(piece) + 2
        yield struct.pack(">BxLLBB", _DATA, size + 4, size, _CONTEXT, control | last)
        yield piece


def _read_pdu(connection: socket.socket, kind: int) -> bytes:
    """The body of the next PDU. ConnectionError when it is of another kind."""
    found, length = struct.unpack(">BxL", _read(connection, 6))
    if found != kind:
        raise ConnectionError(f"the receiver answers with a PDU of type {found}")
    return _read(connection, length)


def _read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = connection.recv(size - len(content))
        if not more:
            raise ConnectionError("the receiver closed the connection")
        content += more
    return content


def _is_success(answer: bytes) -> bool:
    """Whether the command set in a P-DATA-TF says Status 0x0000 (PS3.7 §9.3.1.2)."""
    position = _PDV_HEADER_BYTES
    while position + 8 <= len(answer):
        _, number, length = struct.unpack_from("<HHL", answer, position)
        position += 8 + length
        if number == _STATUS:
            return answer[position - length : position] == bytes(2)
    return False


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


if __name__ == "__main__":
    found = time_responses(json.load(sys.stdin))
    json.dump([vars(timed) for timed in found], sys.stdout)
