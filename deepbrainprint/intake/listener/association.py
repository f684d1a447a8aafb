"""One association: pynetdicom's negotiation and services, with C-STORE streamed to disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ

from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.intake.admission import Reject
from deepbrainprint.intake.listener.command import (
    C_STORE_RQ,
    Command,
    command_pdu,
    encode_store_response,
    read_command,
)
from deepbrainprint.intake.listener.contexts import is_storage
from deepbrainprint.intake.listener.pdu_stream import (
    PDV_HEADER_BYTES,
    Fragment,
    PduStream,
    PeerGone,
    ProtocolViolation,
)
from deepbrainprint.intake.listener.storing import CLASS_NOT_SUPPORTED, StoreAnswer, StoreOperation
from deepbrainprint.intake.listener.upper_layer import Messages, UpperLayer
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.part10 import Request

log = structlog.get_logger()

_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _ABORT = 0x01, 0x04, 0x05, 0x07
_LARGEST_ASSOCIATE_RQ = 1 << 17  # 128 contexts of 64 transfer syntaxes need less
_LARGEST_COMMAND = 1 << 16
_LARGEST_IDENTIFIER = 16 << 20  # data sets of what is no C-STORE are held in memory
_UNEXPECTED, _UNRECOGNISED, _INVALID_VALUE = 0x02, 0x01, 0x06  # reasons of an A-P-ABORT
_BY_USER, _BY_PROVIDER = 0, 2  # sources of an A-ABORT
_SHORT_BODY_BYTES = 4  # of releases and aborts
_SMALLEST_ASSOCIATE_RQ = 68
_TITLES = slice(4, 36)  # called and calling AE title in an A-ASSOCIATE-RQ's body
_OTHER_VERSION = (0x01, 0x02, 0x02)  # permanent, protocol version (PS3.8 Table 9-21)
_RELEASE_RP = bytes.fromhex("06000000000400000000")


class House(Protocol):
    """What an association asks of the process that it runs in."""

    ae: AE

    def receive(self, association: StreamingAssociation) -> Reject | None:
        """Let a sender in, whose request was read: set up contexts and handlers, or refuse."""

    def opened(self, association: StreamingAssociation) -> None:
        """The association is established."""

    def begin_store(self, association: StreamingAssociation, request: Request) -> StoreOperation:
        """Take in one instance."""

    def answered(
        self, association: StreamingAssociation, answer: StoreAnswer, seconds: float
    ) -> None:
        """A C-STORE was answered, so long after its last byte came."""

    def closed(self, association: StreamingAssociation) -> None:
        """The connection has ended."""


@dataclass
class Story:
    """What is told of one association in the log and in the database."""

    address: str
    is_encrypted: bool
    opened_at: float = field(default_factory=time.time)
    calling_ae: str = ""
    called_ae: str = ""
    ended: str = ""
    reason_code: str = ""
    instances: int = 0
    repeats: int = 0
    size_bytes: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


class StreamingAssociation(Association):
    """An association that its own thread reads, answers and ends; nothing here polls.

    `call_soon` takes functions to be run in this thread after the current request was answered.
    """

    def __init__(self, house: House, connection: Any, story: Story) -> None:
        super().__init__(house.ae, "acceptor")
        self.story = story
        self._layer = UpperLayer(connection)
        self._messages = Messages(self)
        self.dul = self._layer  # type: ignore[assignment]  # offers what is asked of one here
        self.dimse = self._messages
        self.acse_timeout = house.ae.acse_timeout  # these reach into what was just replaced
        self.network_timeout = house.ae.network_timeout
        self._is_paused = True  # pynetdicom's send_… functions wait for their reactor to rest
        self._house = house
        self._seconds = float(house.ae.network_timeout or 60)
        self._stream = PduStream(connection, pdu_seconds=self._seconds)
        self._context_id = -1
        self._command = bytearray()
        self._read: Command | None = None
        self._identifier = bytearray()
        self._store: StoreOperation | None = None
        self._failure: PeerGone | ProtocolViolation | None = None
        self._soon: list[Callable[[], None]] = []
        self.acceptor.ae_title = house.ae.ae_title
        self._largest_pdu = house.ae.maximum_pdu_size
        self.acceptor.maximum_length = self._largest_pdu
        self.acceptor.implementation_class_uid = house.ae.implementation_class_uid
        self.acceptor.implementation_version_name = house.ae.implementation_version_name

    def run_reactor(self) -> None:
        """Live through the association; whatever happens, it ends in order."""
        try:
            self._negotiate()
            while self.is_established and self.read_message():
                self._serve_waiting()
        except PeerGone as gone:
            self._end("timeout" if gone.how in {"silent", "slow"} else "lost")
            self._abort_quietly()
        except ProtocolViolation as violation:
            self._end("protocol_violation")
            self._abort_quietly(violation.reason)
        except Exception as error:  # noqa: BLE001 — one association must not harm the others
            log.error("association_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            self._end("failed")
            self._abort_quietly()
        finally:
            self._end("ended_by_us")  # by a service that could not make sense of a message
            self._drop_store()
            self.is_established = False
            self._layer.close()
            self._stream.close()
            self._house.closed(self)

    def call_soon(self, function: Callable[[], None]) -> None:
        """Run a function in this thread once the request in hand has been answered."""
        self._soon.append(function)

    def is_quiet(self, seconds: float) -> bool:
        """Whether it is established and the peer sends nothing for so long."""
        waits = bool(self.is_established) and not self._messages.has_waiting
        return waits and not self._stream.has_more(seconds)

    def read_message(self) -> bool:
        """Read and serve a C-STORE, or read another message to its end; False when it is over.

        Raises PeerGone and ProtocolViolation.
        """
        while True:
            kind, length = self._stream.next_pdu(self._seconds)
            if kind == _P_DATA:
                if self._take_data(length):
                    return True
            elif kind == _RELEASE_RQ:
                if length != _SHORT_BODY_BYTES:
                    raise ProtocolViolation(_INVALID_VALUE)
                self._stream.skip(length)
                self._answer_release()
                return False
            elif kind == _ABORT:
                self.is_aborted = True
                self.is_established = False
                self._end("aborted")
                return False
            else:
                raise ProtocolViolation(_reason_for(kind))

    def read_what_came(self) -> None:
        """Read a message that is there already; a cancel takes effect by this.

        Not more than one, or a peer that asks faster than we answer would keep us reading.
        """
        if self.is_established and not self._messages.has_waiting and self._stream.has_more():
            self.read_message()

    def fail(self, failure: PeerGone | ProtocolViolation) -> None:
        """End after the service that runs now, whose class would swallow the failure."""
        self._failure = self._failure or failure
        self.is_established = False

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: FBT001, FBT002, ARG002 — pynetdicom's signature
        """End at once; service classes of pynetdicom call this when a message makes no sense."""
        if not self._sent_abort and self.is_established:
            self._sent_abort = True
            self._end("aborted_by_us")
            self._abort_quietly(source=_BY_USER)
        self.is_established = False

    # Negotiation

    def _negotiate(self) -> None:
        kind, length = self._stream.next_pdu(
            float(self.acse_timeout or self._seconds), pdu_seconds=self.acse_timeout
        )
        if kind != _ASSOCIATE_RQ:
            raise ProtocolViolation(_reason_for(kind))
        if not _SMALLEST_ASSOCIATE_RQ <= length <= _LARGEST_ASSOCIATE_RQ:
            raise ProtocolViolation(_INVALID_VALUE)
        is_our_version = self._read_request(length)
        refusal = self._house.receive(self) if is_our_version else _OTHER_VERSION
        if refusal is not None:
            self._reject(refusal)
            return
        try:
            self.acse.negotiate_association()
        except PeerGone:
            raise
        except Exception:  # noqa: BLE001 — of items that decode but make no sense
            raise ProtocolViolation(_INVALID_VALUE) from None
        if self.is_established:
            self._house.opened(self)

    def _read_request(self, length: int) -> bool:
        """Take in an A-ASSOCIATE-RQ; whether it speaks our version of the protocol."""
        body = bytearray(self._stream.read(length))
        titles = bytes(body[_TITLES]).replace(b"\0", b" ")  # some senders fill up with NULs
        body[_TITLES] = titles
        request = A_ASSOCIATE_RQ()
        try:
            request.decode(b"\x01\x00" + length.to_bytes(4, "big") + bytes(body))
            self.requestor.primitive = request.to_primitive()
        except Exception:  # noqa: BLE001 — its decoders raise whatever a bad byte leads them to
            raise ProtocolViolation(_INVALID_VALUE) from None
        self.story.calling_ae = self.requestor.primitive.calling_ae_title.strip()
        self.story.called_ae = self.requestor.primitive.called_ae_title.strip()
        return bool(body[1] & 1)  # PS3.8 Table 9-11: bit 0 is version 1

    def _reject(self, refusal: Reject) -> None:
        self._end("rejected")
        self.acse.send_reject(*refusal)
        evt.trigger(self, evt.EVT_REJECTED, {})

    # Messages

    def _take_data(self, length: int) -> bool:
        """Take one P-DATA-TF PDU; whether a message came to its end in it."""
        if not 0 < length <= self._largest_pdu + PDV_HEADER_BYTES:
            raise ProtocolViolation(_INVALID_VALUE)
        ended = False
        while length:
            if length < PDV_HEADER_BYTES:
                raise ProtocolViolation(_INVALID_VALUE)
            fragment = self._stream.next_fragment()
            length -= PDV_HEADER_BYTES + fragment.size
            if length < 0:
                raise ProtocolViolation(_INVALID_VALUE)
            ended = self._take_fragment(fragment) or ended
        return ended

    def _take_fragment(self, fragment: Fragment) -> bool:
        if fragment.is_command:
            return self._take_command(fragment)
        if self._read is None or fragment.context_id != self._context_id:
            raise ProtocolViolation(_UNEXPECTED)
        if self._store is not None:
            self._store.take(self._stream.parts(fragment.size))
            return fragment.is_last and self._finish_store()
        if len(self._identifier) + fragment.size > _LARGEST_IDENTIFIER:
            raise ProtocolViolation(_INVALID_VALUE)
        for part in self._stream.parts(fragment.size):
            self._identifier += part
        return fragment.is_last and self._finish_message()

    def _take_command(self, fragment: Fragment) -> bool:
        if self._read is not None or len(self._command) + fragment.size > _LARGEST_COMMAND:
            raise ProtocolViolation(_UNEXPECTED)
        if self._command and fragment.context_id != self._context_id:
            raise ProtocolViolation(_UNEXPECTED)
        self._command += self._stream.read(fragment.size)
        self._context_id = fragment.context_id
        if not fragment.is_last:
            return False
        if fragment.context_id not in self._accepted_cx:
            raise ProtocolViolation(_UNEXPECTED)
        try:
            self._read = read_command(bytes(self._command))
        except ValueError:
            raise ProtocolViolation(_INVALID_VALUE) from None
        if self._read.field == C_STORE_RQ:
            self._begin_store(self._read)
            return not self._read.has_data_set and self._finish_store()
        return not self._read.has_data_set and self._finish_message()

    def _begin_store(self, command: Command) -> None:
        context = self._accepted_cx[self._context_id]
        request = Request(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            calling_ae=self.story.calling_ae,
        )
        self._store = self._house.begin_store(self, request)
        if not is_storage(str(context.abstract_syntax)):
            self._store.refuse(StoreAnswer(CLASS_NOT_SUPPORTED, code="not_a_storage_context"))

    def _finish_store(self) -> bool:
        store, command = self._store, self._read
        if store is None or command is None:
            raise AssertionError
        began = time.perf_counter()
        answer = store.finish(has_data_set=command.has_data_set)
        response = encode_store_response(command, answer.status, answer.comment)
        self._forget_message()
        self._layer.send(command_pdu(self._context_id, response))
        self._house.answered(self, answer, time.perf_counter() - began)
        return True

    def _finish_message(self) -> bool:
        command, identifier = bytes(self._command), bytes(self._identifier)
        self._forget_message()
        try:
            self._messages.take(self._context_id, command, identifier)
        except (PeerGone, DeepBrainPrintError):
            raise
        except Exception as error:  # noqa: BLE001 — pynetdicom's decoders raise whatever bytes lead to
            log.warning("message_unreadable", error=type(error).__name__, place=place_of(error))
            raise ProtocolViolation(_INVALID_VALUE) from None
        return True

    def _serve_waiting(self) -> None:
        while self.is_established:
            context_id, message = self._messages.get_msg()
            if message is None or context_id is None:
                return
            self._serve_request(message, context_id)
            if self._failure is not None:
                raise self._failure
            self._is_paused = True
            while self._soon:
                self._soon.pop(0)()

    # Endings

    def _answer_release(self) -> None:
        self.is_released = True
        self.is_established = False
        self._end("released")
        self._layer.send(_RELEASE_RP)
        evt.trigger(self, evt.EVT_RELEASED, {})

    def _abort_quietly(self, reason: int = 0, *, source: int = _BY_PROVIDER) -> None:
        """Tell the peer, if it still listens (PS3.8 §9.3.8)."""
        self.is_aborted = True
        with suppress(PeerGone):
            self._layer.send(bytes([_ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason]))

    def _end(self, how: str) -> None:
        self.story.ended = self.story.ended or how

    def _forget_message(self) -> None:
        self._command.clear()
        self._identifier.clear()
        self._read = None
        self._drop_store()

    def _drop_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _reason_for(kind: int) -> int:
    """Why a PDU of this type ends the association: known but out of place, or no PDU at all."""
    return _UNEXPECTED if _ASSOCIATE_RQ <= kind <= _ABORT else _UNRECOGNISED
