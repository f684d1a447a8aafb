"""STOW-RS (DICOM PS3.18 §10.5): files the instances of one request as its body comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog
from pynetdicom import build_context

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.errors import BadStudy, DeepBrainPrintError, TryAgain
from deepbrainprint.intake.dicomweb.file_meta import no_meta, read_file_meta
from deepbrainprint.intake.dicomweb.multipart import (
    MultipartReader,
    PartBegins,
    PartBytes,
    PartEnds,
)
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.listener.contexts import AcceptedContexts
from deepbrainprint.intake.listener.storing import DATA_SET_DOES_NOT_MATCH, status_of
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.spool import Incoming
from deepbrainprint.settings import Settings

log = structlog.get_logger()

PART_TYPE = "application/dicom"

# Failure Reason (0008,1197), PS3.18 Table I.2.2-2 and PS3.7 Annex C; others are those of C-STORE.
PROCESSING_FAILURE = 0x0110
CLASS_NOT_SUPPORTED = 0x0122

_LONGEST_META = 64 << 10


@dataclass(frozen=True)
class Stored:
    """An instance that is on disk and in the database."""

    sop_class_uid: str
    sop_instance_uid: str
    arrival: Arrival


@dataclass(frozen=True)
class Refused:
    """A part that was not filed; its UIDs are empty where it does not say them."""

    sop_class_uid: str
    sop_instance_uid: str
    reason: int
    message: str
    for_now: bool  # the same part may be taken later


@dataclass
class Outcome:
    """What became of the parts so far."""

    stored: list[Stored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    size_bytes: int = 0  # of what was stored

    def report(self) -> dict[str, Any]:
        """The Store Instances Response Module (PS3.18 Annex I.2) as DICOM JSON."""
        named = [one for one in self.refused if one.sop_instance_uid]
        nameless = [one for one in self.refused if not one.sop_instance_uid]
        return {
            tag: {"vr": "SQ", "Value": items}
            for tag, items in {
                "00081198": [_item(one) | _reason(one) for one in named],
                "00081199": [_item(one) for one in self.stored],
                "0008119A": [_reason(one) for one in nameless],
            }.items()
            if items
        }


class Upload:
    """One request: give it the body with `feed`, then `finish`; `close` whatever happens.

    Of what has come only whole instances are filed. The methods block; `feed` and `finish` raise
    BadStudy when the body is not multipart, `finish` with code `body_cut_off` when it is not whole.
    """

    def __init__(
        self, settings: Settings, filing: Filing, *, sender: str, boundary: str, study_uid: str = ""
    ) -> None:
        self.outcome = Outcome()
        self._settings = settings
        self._filing = filing
        self._sender = sender
        self._study_uid = study_uid
        self._reader = MultipartReader(boundary)
        self._part: _Part | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        for event in self._reader.feed(piece):
            match event:
                case PartBegins(media_type):
                    self._part = self._new_part(media_type)
                case PartBytes(content) if self._part is not None:
                    self._part.write(content)
                case PartEnds() if self._part is not None:
                    self._end(self._part)
                case _:
                    raise AssertionError(event)

    def finish(self) -> Outcome:
        """The body has ended."""
        self._reader.finish()
        return self.outcome

    def close(self) -> None:
        """Forget a part that did not come to its end."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def _new_part(self, media_type: str) -> _Part:
        part = _Part(self._settings, self._filing, self._sender, self._study_uid)
        if media_type not in {"", PART_TYPE}:
            part.fail(BadStudy(f"a part is not {PART_TYPE}", code="no_dicom_part"))
        return part

    def _end(self, part: _Part) -> None:
        result = part.finish()
        self.close()
        if isinstance(result, Stored):
            self.outcome.stored.append(result)
            self.outcome.size_bytes += part.size_bytes
        else:
            self.outcome.refused.append(result)


class _Part:
    """One instance on its way; a failure is kept until its end, so that the others get through."""

    def __init__(self, settings: Settings, filing: Filing, sender: str, study_uid: str) -> None:
        self.size_bytes = 0
        self._settings = settings
        self._filing = filing
        self._sender = sender
        self._study_uid = study_uid
        self._head = bytearray()
        self._request: Request | None = None
        self._incoming: Incoming | None = None
        self._refused: Refused | None = None

    def write(self, content: bytes) -> None:
        """Take the next bytes of the file."""
        self.size_bytes += len(content)
        if self._refused is not None:
            return
        try:
            if self._incoming is not None:
                self._incoming.write(content)
            else:
                self._begin(content)
        except Exception as error:  # noqa: BLE001 — one object must not end the others
            self.fail(error)

    def finish(self) -> Stored | Refused:
        """File what has come."""
        try:
            if self._refused is None and self._incoming is None:
                self._begin(b"", is_all=True)
            if self._refused is None:
                return self._filed()
        except Exception as error:  # noqa: BLE001
            self.fail(error)
        return self._refused or self._refusal(PROCESSING_FAILURE, "")

    def fail(self, error: Exception) -> None:
        """Remember why this part cannot be filed, and let go of what was written."""
        self.close()
        if isinstance(error, DeepBrainPrintError):
            log.warning("instance_refused", code=error.code, reason=str(error))
            for_now = isinstance(error, TryAgain)
            self._refused = self._refusal(_reason_of(error), str(error), for_now=for_now)
        else:
            log.error("store_failed", error=type(error).__name__, place=place_of(error))
            self._refused = self._refusal(PROCESSING_FAILURE, "it could not be processed")

    def close(self) -> None:
        """Let go of the file; what was not filed is gone."""
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    def _begin(self, content: bytes, *, is_all: bool = False) -> None:
        self._head += content
        start = self._read_meta(is_all=is_all)
        if start is None or self._request is None:
            return
        require_storable(self._request, any_private=self._settings.accept_private_storage)
        self._incoming = self._filing.begin(self._request)
        self._incoming.write(bytes(self._head[start:]))
        self._head.clear()

    def _read_meta(self, *, is_all: bool) -> int | None:
        found = read_file_meta(bytes(self._head), calling_ae=self._sender)
        if found is None:
            if is_all or len(self._head) > _LONGEST_META:
                raise no_meta()
            return None
        self._request, start = found
        return start

    def _filed(self) -> Stored:
        incoming, request = self._incoming, self._request
        if incoming is None or request is None:
            raise no_meta()
        if self._study_uid and _study_of(incoming) not in {"", self._study_uid}:
            raise BadStudy(
                "an instance belongs to another study than the one in the URL: post it to /studies",
                code="other_study",
            )
        arrival = self._filing.finish(incoming)
        return Stored(request.sop_class_uid, request.sop_instance_uid, arrival)

    def _refusal(self, reason: int, message: str, *, for_now: bool = False) -> Refused:
        request = self._request
        return Refused(
            request.sop_class_uid if request else "",
            request.sop_instance_uid if request else "",
            reason,
            message,
            for_now,
        )


def require_storable(request: Request, *, any_private: bool) -> None:
    """BadStudy with code `class_not_supported` for what C-STORE would not take either."""
    if not _is_storable(request.sop_class_uid, request.transfer_syntax_uid, any_private):
        raise BadStudy(
            "this SOP class or transfer syntax is not stored here", code="class_not_supported"
        )


@lru_cache(maxsize=1024)
def _is_storable(sop_class_uid: str, transfer_syntax_uid: str, any_private: bool) -> bool:  # noqa: FBT001 — part of the cache's key
    contexts = AcceptedContexts([], any_private=any_private)
    try:
        offered = build_context(sop_class_uid, transfer_syntax_uid)
    except ValueError:
        return False
    return bool(contexts.supported([offered]))


def _study_of(incoming: Incoming) -> str:
    """The Study Instance UID; empty where the data set cannot be read, which filing says better."""
    syntax = incoming.request.transfer_syntax_uid
    with incoming.content() as (data, start):
        try:
            return read_header(data, transfer_syntax_uid=syntax, start=start).study_uid
        except BadStudy:
            return ""


def _reason_of(error: DeepBrainPrintError) -> int:
    match error.code:
        case "class_not_supported":
            return CLASS_NOT_SUPPORTED
        case "other_study":
            return DATA_SET_DOES_NOT_MATCH
        case _:
            return status_of(error)


def _item(one: Stored | Refused) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [one.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [one.sop_instance_uid]},
    }


def _reason(one: Refused) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [one.reason]}}


def repeats(stored: Iterable[Stored]) -> int:
    """How many of these were here before."""
    return sum(one.arrival is Arrival.REPEAT for one in stored)
