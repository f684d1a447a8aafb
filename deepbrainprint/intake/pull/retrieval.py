"""Fetches by C-GET or C-MOVE (PS3.4 C.4.2, C.4.3), Study Root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import cast

import structlog
from pydicom import Dataset
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context

from deepbrainprint.errors import BadStudy, Misconfigured, TryAgain
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.pull.asks import Ask
from deepbrainprint.intake.pull.association import (
    PACS_FAILED,
    association,
    refused_with,
    require_context,
    status_of,
)
from deepbrainprint.intake.pull.contexts import MOST, storage_contexts
from deepbrainprint.intake.pull.identifiers import identifier, text
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.query import Query
from deepbrainprint.intake.pull.source import Found, Listed

log = structlog.get_logger()

# Study Root Query/Retrieve Information Model
GET, MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
_PENDING = frozenset({0xFF00, 0xFF01})
_PARTLY = 0xB000  # PS3.4 tables C.4-2, C.4-3: some sub-operations failed; the caller counts
_UNKNOWN_DESTINATION = 0xA801
_OUT_OF_RESOURCES, _CANNOT_UNDERSTAND, _PROCESSING_FAILURE = 0xA700, 0xC000, 0xC211
_INSTANCES_AT_ONCE = 200
_ARRIVAL_SECONDS = 10.0  # for what the PACS has sent and the listener has not filed yet


class _Queried:
    """What both ways have in common."""

    def __init__(self, peer: Peer) -> None:
        self.name = peer.called_ae
        self._peer = peer
        self._query = Query(peer)

    def find(self, ask: Ask, modalities: Sequence[str]) -> list[Found]:
        """Studies, by C-FIND."""
        return self._query.studies(ask, modalities)

    def listing(self, study_uid: str) -> list[Listed]:
        """The instances of a study, by C-FIND."""
        return self._query.instances(study_uid)

    def close(self) -> None:
        """End what is open."""
        self._query.close()


class GetSource(_Queried):
    """Studies come over our own association."""

    def fetch(self, study_uid: str, wanted: Sequence[Listed], inbox: Inbox) -> None:
        """Bring instances into `inbox` by C-GET, byte for byte as they are sent."""
        self._query.close()  # a PACS counts its associations
        contexts = storage_contexts(one.sop_class_uid for one in wanted)
        classes = dict.fromkeys(str(context.abstract_syntax) for context in contexts)
        with association(
            self._peer,
            [build_context(GET), *contexts[:MOST]],
            roles=[build_role(uid, scp_role=True) for uid in classes],
            handlers=[(evt.EVT_C_STORE, _Store(inbox, self.name).handle)],
        ) as linked:
            require_context(linked, self._peer, GET, "C-GET")
            _in_pieces(study_uid, wanted, lambda asked: self._get(linked, asked, inbox))

    def _get(self, linked: Association, asked: Dataset, inbox: Inbox) -> int:
        status = 0
        for response, _ in linked.send_c_get(asked, GET):
            if inbox.received.trouble is not None:
                raise inbox.received.trouble
            status = status_of(response, self._peer)
        if status not in {0, _PARTLY}:
            raise refused_with(self._peer, "C-GET", status)
        return inbox.received.instances


class _Store:
    """Takes what the PACS stores with us during a C-GET; lets no exception out."""

    def __init__(self, inbox: Inbox, name: str) -> None:
        self._inbox = inbox
        self._name = name

    def handle(self, event: evt.Event) -> int:
        """EVT_C_STORE: the response's status. After trouble of our own we break off."""
        try:
            self._inbox.take(
                _request(event, self._name), [event.encoded_dataset(include_meta=False)]
            )
        except BadStudy:
            return _CANNOT_UNDERSTAND
        except TryAgain:
            event.assoc.abort()
            event.assoc.dimse.msg_queue.put((None, None))  # or the C-GET waits for its time-out
            return _OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 — one object must not end an association
            log.error("store_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            return _PROCESSING_FAILURE
        return 0


class MoveSource(_Queried):
    """The PACS sends studies to our listener, under the AE title by which it knows that."""

    def fetch(self, study_uid: str, wanted: Sequence[Listed], inbox: Inbox) -> None:
        """Have instances sent by C-MOVE and wait until the listener has filed them."""
        self._query.close()
        before = inbox.count_here(study_uid)
        sent = 0
        try:
            sent = self._ask_for(study_uid, wanted, inbox)
        finally:
            here = inbox.await_elsewhere(study_uid, before + sent, quiet_seconds=_ARRIVAL_SECONDS)
            inbox.took_elsewhere(here - before)
        if sent and here == before:
            raise TryAgain(
                f"{self._peer} says that it sent {sent} instances, and none has arrived: run "
                f"`deepbrainprint listen` where it sends to for AE {self._peer.calling_ae}",
                code="nothing_arrived",
            )

    def _ask_for(self, study_uid: str, wanted: Sequence[Listed], inbox: Inbox) -> int:
        with association(self._peer, [build_context(MOVE)]) as linked:
            require_context(linked, self._peer, MOVE, "C-MOVE")
            return _in_pieces(study_uid, wanted, lambda asked: self._move(linked, asked, inbox))

    def _move(self, linked: Association, asked: Dataset, inbox: Inbox) -> int:
        """How many instances the PACS says it sent."""
        status = sent = 0
        for response, _ in linked.send_c_move(asked, self._peer.calling_ae, MOVE):
            inbox.clock.require_going()
            status = status_of(response, self._peer)
            if status not in _PENDING:
                sent = int(text(response, "NumberOfCompletedSuboperations") or 0)
        if status == _UNKNOWN_DESTINATION:
            raise Misconfigured(
                f"{self._peer} does not know where AE {self._peer.calling_ae} is: enter our host "
                "and port there under that title",
                code="unknown_destination",
            )
        if status not in {0, _PARTLY}:
            raise TryAgain(
                f"{self._peer} ended C-MOVE with status 0x{status:04X}: see that it knows where AE "
                f"{self._peer.calling_ae} is, and that `deepbrainprint senders` shows it admitted",
                code=PACS_FAILED,
            )
        return sent


def _in_pieces(study_uid: str, wanted: Sequence[Listed], act: Callable[[Dataset], int]) -> int:
    """The whole study, or lists of instances, each of one series (PS3.4 C.4.2.1.4); the sum.

    Some PACS give up a whole list for one instance that they cannot send, so a list that fails is
    cut in two. Raises the last failure when all has been tried.
    """
    if not wanted:
        return act(identifier("STUDY", StudyInstanceUID=study_uid))
    total, failure = 0, None
    pieces = list(_pieces(wanted))
    while pieces:
        piece = pieces.pop()
        try:
            total += act(_identifier_of(study_uid, piece))
        except TryAgain as error:
            if error.code != PACS_FAILED:
                raise
            failure = error
            middle = len(piece) // 2
            pieces += [piece[:middle], piece[middle:]] if middle else []
    if failure is not None:
        raise failure
    return total


def _pieces(wanted: Sequence[Listed]) -> Iterator[list[Listed]]:
    ordered = sorted(wanted, key=lambda one: one.series_uid)
    for _, group in groupby(ordered, key=lambda one: one.series_uid):
        listed = list(group)
        for start in range(0, len(listed), _INSTANCES_AT_ONCE):
            yield listed[start : start + _INSTANCES_AT_ONCE]


def _identifier_of(study_uid: str, piece: Sequence[Listed]) -> Dataset:
    return identifier(
        "IMAGE",
        StudyInstanceUID=study_uid,
        SeriesInstanceUID=piece[0].series_uid,
        SOPInstanceUID=[one.sop_instance_uid for one in piece],
    )


def _request(event: evt.Event, name: str) -> Request:
    request = cast("C_STORE", event.request)
    return Request(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae=name,
    )
