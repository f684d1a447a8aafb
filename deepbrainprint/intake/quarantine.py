"""Keeps aside what cannot be filed: the object as sent, and beside it why it is there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from deepbrainprint.database.arrivals import record_quarantine
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.part10 import Delivery, encoded_meta
from deepbrainprint.intake.spool import storage_errors, write_durably
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
    settings: Settings, database: Database, delivery: Delivery, *, why: BadStudy
) -> None:
    """Make a refused delivery durable in the quarantine folder and record it.

    The same bytes are kept once. Raises TryAgain when disk or database is away; what is on disk
    by then is recorded at the next start.
    """
    path = Path(f"{delivery.sha256}.dcm")
    meta = encoded_meta(delivery)
    note = _Note(
        why.code,
        str(why),
        len(meta) + len(delivery.data_set),
        delivery.sha256,
        delivery.calling_ae,
    )
    text = json.dumps(asdict(note), indent=2) + "\n"
    with storage_errors():
        write_durably(settings.quarantine_folder, path.with_suffix(".json"), [text.encode()])
        write_durably(settings.quarantine_folder, path, (meta, delivery.data_set))
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
