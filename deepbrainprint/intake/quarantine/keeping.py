"""Keeps aside what cannot be filed: the object as sent, and beside it why it is there."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from deepbrainprint.database.connection import Database
from deepbrainprint.database.quarantine import (
    lock_decided_object,
    mark_removed,
    record_quarantine,
    unremoved_objects,
)
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.spool import Incoming, storage_errors, sync_folder, write_note
from deepbrainprint.settings import Settings


class HeldReason(StrEnum):
    """Why an object was kept aside."""

    NO_UID = "no_uid"
    INVALID_UID = "invalid_uid"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    UID_MISMATCH = "uid_mismatch"
    CLASS_MISMATCH = "class_mismatch"
    OTHER_BYTES = "other_bytes"
    UNKNOWN_SENDER = "unknown_sender"
    OTHER = "other"  # kept by another version, which knew a further reason

    @classmethod
    def of(cls, code: str) -> HeldReason:
        """The reason with this code."""
        return cls(code) if code in set(cls) else cls.OTHER

    @property
    def advice(self) -> str:
        """What to do about such an object, in words."""
        return _ADVICE[self]


_ADVICE = {
    HeldReason.NO_UID: "correct it at its source and send it again; discard this copy",
    HeldReason.INVALID_UID: "correct it at its source and send it again; discard this copy",
    HeldReason.TRUNCATED: "send it again from its source; discard this copy",
    HeldReason.UNREADABLE: "send it again in another transfer syntax; discard this copy",
    HeldReason.UID_MISMATCH: "release files it as what its data set says; correct the sender",
    HeldReason.CLASS_MISMATCH: "release files it as what its data set says; correct the sender",
    HeldReason.OTHER_BYTES: "compare both copies (show); discard this one, or have the changed "
    "object sent under a new UID: what is filed is never overwritten",
    HeldReason.UNKNOWN_SENDER: "admit the sender, then release; or discard",
    HeldReason.OTHER: "see its reason; release tries to file it again",
}


@dataclass(frozen=True)
class _Note:
    """What stands beside a kept object; holds no identity."""

    reason_code: str
    reason: str
    size_bytes: int
    sha256: str
    calling_ae: str

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def keep_aside(
    settings: Settings, database: Database, incoming: Incoming, *, why: BadStudy
) -> None:
    """Make a refused object durable in the quarantine folder and record it.

    The same bytes are kept once. TryAgain when the disk fails. PostgreSQL being away is no
    trouble: what is on disk by then is recorded later.
    """
    target = settings.quarantine_folder / f"{incoming.sha256}.dcm"
    note = _Note(
        why.code,
        str(why),
        incoming.size_bytes,
        incoming.sha256,
        incoming.request.calling_ae,
    )
    _keep(incoming, note, target)
    with suppress(TryAgain):
        _record(settings, database, Path(target.name))
    if not target.exists():  # the same bytes were just let go
        _keep(incoming, note, target)


def record_all(settings: Settings, database: Database) -> int:
    """Bring rows and files to agreement after a stop; how many kept objects got a row.

    What was let go loses its file if a stop had left it there.
    """
    with database.transaction() as connection:
        left = unremoved_objects(connection)
    for quarantine_id in left:
        remove_files(settings, database, quarantine_id)
    notes = sorted(settings.quarantine_folder.glob("*.json"))
    kept = [Path(note.stem + ".dcm") for note in notes if note.with_suffix(".dcm").exists()]
    return sum(_record(settings, database, path) for path in kept)


def remove_files(settings: Settings, database: Database, quarantine_id: int) -> None:
    """Remove the files of an object that was let go. Harmless when repeated.

    TryAgain when disk or database fails; `record_all` then does it later.
    """
    with database.transaction() as connection:
        path = lock_decided_object(connection, quarantine_id)
        if path is None:
            return
        target = settings.quarantine_folder / path
        with storage_errors():
            target.with_suffix(".json").unlink(missing_ok=True)  # last would hide what comes again
            target.unlink(missing_ok=True)
            sync_folder(target.parent)
        mark_removed(connection, quarantine_id)


def _keep(incoming: Incoming, note: _Note, target: Path) -> None:
    write_note(target.with_suffix(".json"), json.dumps(asdict(note), indent=2) + "\n")
    incoming.keep(target)


def _record(settings: Settings, database: Database, path: Path) -> bool:
    note = _Note.read((settings.quarantine_folder / path).with_suffix(".json"))
    with database.transaction() as connection:
        return record_quarantine(connection, path=path, **asdict(note))
