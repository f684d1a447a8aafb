"""Keeps aside what cannot be filed: the object as sent, and beside it why it is there."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from deepbrainprint.database.arrivals import record_quarantine
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.spool import Incoming, write_note
from deepbrainprint.settings import Settings


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
    path = Path(f"{incoming.sha256}.dcm")
    note = _Note(
        why.code,
        str(why),
        incoming.size_bytes,
        incoming.sha256,
        incoming.request.calling_ae,
    )
    target = settings.quarantine_folder / path
    write_note(target.with_suffix(".json"), json.dumps(asdict(note), indent=2) + "\n")
    incoming.keep(target)
    with suppress(TryAgain):
        _record(settings, database, path)


def record_all(settings: Settings, database: Database) -> int:
    """Record the kept objects that have no row; how many those were."""
    notes = sorted(settings.quarantine_folder.glob("*.json"))
    kept = [Path(note.stem + ".dcm") for note in notes if note.with_suffix(".dcm").exists()]
    return sum(_record(settings, database, path) for path in kept)


def _record(settings: Settings, database: Database, path: Path) -> bool:
    note = _Note.read((settings.quarantine_folder / path).with_suffix(".json"))
    with database.transaction() as connection:
        return record_quarantine(connection, path=path, **asdict(note))
