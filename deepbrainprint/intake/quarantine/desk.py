"""What people decide of kept objects: file them after all, or let them go. Every act is recorded.

Each step can be repeated after a stop: filing the same bytes twice is harmless, a decision is one
transaction with its act, and files go last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.connection import Database
from deepbrainprint.database.quarantine import (
    FiledInstance,
    HeldObject,
    HeldState,
    decide_held_object,
    filed_instance,
    held_object,
    set_held_reason,
)
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.part10 import FiledObject, Request, filed_object
from deepbrainprint.intake.quarantine.inspection import Difference, Inspection, differences, inspect
from deepbrainprint.intake.quarantine.keeping import HeldReason, remove_files
from deepbrainprint.settings import Settings

SUBJECT = "quarantine"
_CHUNK_BYTES = 1 << 20
_TRUSTING_DATA_SET = frozenset({HeldReason.UID_MISMATCH, HeldReason.CLASS_MISMATCH})


@dataclass(frozen=True)
class Decided:
    """What became of a kept object, in a word for programs and in words for people."""

    quarantine_id: int
    outcome: str  # released, discarded, unchanged or refused
    code: str
    words: str


@dataclass(frozen=True)
class Conflict:
    """The two copies of one SOP Instance UID, and in which elements they differ."""

    filed: FiledInstance
    filed_path: Path
    held_path: Path
    is_there: bool  # whether the filed one has its file
    differences: list[Difference]


class QuarantineDesk:
    """Decides of kept objects in the name of one actor."""

    def __init__(self, settings: Settings, database: Database, *, actor: str) -> None:
        self._settings = settings
        self._database = database
        self._actor = actor

    def find(self, quarantine_id: int) -> HeldObject:
        """One kept object. BadStudy with code `no_such_object` when there is none."""
        with self._database.transaction() as connection:
            found = held_object(connection, quarantine_id)
        if found is None:
            raise BadStudy(
                f"no object {quarantine_id} was ever kept: see `deepbrainprint quarantine list`",
                code="no_such_object",
            )
        return found

    def look_into(self, held: HeldObject, *, show_identity: bool = False) -> Inspection:
        """What is inside; showing identity is recorded first.

        BadStudy with code `file_gone` when the object was let go.
        """
        path = self._path(held)
        if show_identity:
            with self._database.transaction() as connection:
                record_act(connection, self._act("identity_shown", held, ""))
        return inspect(path, show_identity=show_identity)

    def conflict_of(self, held: HeldObject) -> Conflict | None:
        """What is filed under the UID that a held object claims; None when nothing is."""
        path = self._path(held)
        with filed_object(path) as there:
            request = there.request
        with self._database.transaction() as connection:
            filed = filed_instance(connection, request.sop_instance_uid)
        if filed is None:
            return None
        filed_path = self._settings.instances_folder / filed.path
        return Conflict(
            filed,
            filed_path,
            path,
            filed_path.exists(),
            differences(path, filed_path) if filed_path.exists() else [],
        )

    def release(self, held: HeldObject, filing: Filing, *, reason: str = "") -> Decided:
        """File a held object as if it came now.

        What still cannot be filed stays, and the answer says why. TryAgain when disk or database
        cannot take it now.
        """
        if held.state is not HeldState.HELD:
            return self._was_decided(held, HeldState.RELEASED)
        try:
            arrival = self._file(held, filing)
        except (BadStudy, FileNotFoundError) as trouble:
            now = self.find(held.quarantine_id)
            if now.state is not HeldState.HELD:  # someone else decided meanwhile
                return self._was_decided(now, HeldState.RELEASED)
            error = trouble if isinstance(trouble, BadStudy) else _file_gone(now)
            self._remember_why(held, error)
            return Decided(held.quarantine_id, "refused", error.code, f"stays: {error}")
        words = f"filed ({arrival})"
        return self._decide(held, HeldState.RELEASED, reason=reason, words=words)

    def discard(self, held: HeldObject, *, reason: str) -> Decided:
        """Let a held object go; its file is removed."""
        if held.state is not HeldState.HELD:
            return self._was_decided(held, HeldState.DISCARDED)
        return self._decide(held, HeldState.DISCARDED, reason=reason, words="file removed")

    def _file(self, held: HeldObject, filing: Filing) -> str:
        with filed_object(self._path(held)) as there:
            if there.sha256() != held.sha256:
                raise BadStudy(
                    "the kept file is not what was received: its disk may be failing; discard it",
                    code="file_changed",
                )
            request = _request(there, HeldReason.of(held.reason_code))
            return filing.receive(request, _chunks(there)).value

    def _decide(self, held: HeldObject, state: HeldState, *, reason: str, words: str) -> Decided:
        with self._database.transaction() as connection:
            is_first = decide_held_object(
                connection, held.quarantine_id, state, decided_by=self._actor, note=reason
            )
            if is_first:
                record_act(connection, self._act(state.value, held, reason))
        if not is_first:
            return self._was_decided(self.find(held.quarantine_id), state)
        remove_files(self._settings, self._database, held.quarantine_id)
        return Decided(held.quarantine_id, state.value, "", words)

    def _was_decided(self, held: HeldObject, wanted: HeldState) -> Decided:
        remove_files(self._settings, self._database, held.quarantine_id)  # a stop may have come
        words = f"was {held.state} by {held.decided_by} before"
        outcome = "unchanged" if held.state is wanted else "refused"
        return Decided(held.quarantine_id, outcome, f"already_{held.state}", words)

    def _remember_why(self, held: HeldObject, error: BadStudy) -> None:
        if error.code == held.reason_code or HeldReason.of(error.code) is HeldReason.OTHER:
            return
        with self._database.transaction() as connection:
            set_held_reason(
                connection, held.quarantine_id, reason_code=error.code, reason=str(error)
            )

    def _path(self, held: HeldObject) -> Path:
        path = self._settings.quarantine_folder / held.path
        if not path.exists():
            raise _file_gone(held)
        return path

    def _act(self, act: str, held: HeldObject, reason: str) -> Act:
        return Act(
            actor=self._actor,
            act=act,
            subject_kind=SUBJECT,
            subject_id=str(held.quarantine_id),
            reason=reason,
            details={
                "reason_code": held.reason_code,
                "sha256": held.sha256,
                "size_bytes": held.size_bytes,
                "calling_ae": held.calling_ae,
            },
        )


def _file_gone(held: HeldObject) -> BadStudy:
    if held.state is HeldState.HELD:
        words = f"the file of object {held.quarantine_id} is gone: discard it"
    else:
        words = f"object {held.quarantine_id} has no file any more: it was {held.state}"
    return BadStudy(words, code="file_gone")


def _request(there: FiledObject, reason: HeldReason) -> Request:
    """What an object is filed as: what its sender said, or after a mismatch what it says itself."""
    if reason not in _TRUSTING_DATA_SET:
        return there.request
    header = read_header(
        there.data, transfer_syntax_uid=there.request.transfer_syntax_uid, start=there.start
    )
    return replace(
        there.request,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid or there.request.sop_class_uid,
    )


def _chunks(there: FiledObject) -> Iterator[bytes]:
    for begin in range(there.start, len(there.data), _CHUNK_BYTES):
        yield there.data[begin : begin + _CHUNK_BYTES]
