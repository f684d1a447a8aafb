"""Who did what to what: rows that are appended and never changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import fetch_all, fetch_one


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that a person or a part of the service did. No identity of a patient in it."""

    actor: str
    act: str  # a verb in the past, such as `released`
    subject_kind: str
    subject_id: str
    reason: str = ""
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ActReport:
    """One act as it stands in the database."""

    at: datetime
    actor: str
    act: str
    reason: str
    details: dict[str, object]


def record_act(connection: Connection, act: Act) -> int:
    """Append an act; its id. It counts once the transaction is committed."""
    values = asdict(act) | {"details": json.dumps(act.details)}
    row = fetch_one(connection, "insert_act", **values)
    assert row is not None  # noqa: S101 — `returning` always gives a row
    return int(row[0])


def acts_of(connection: Connection, subject_kind: str, subject_id: str) -> list[ActReport]:
    """What was done to one thing, oldest first."""
    rows = fetch_all(connection, "acts_of", subject_kind=subject_kind, subject_id=subject_id)
    return [ActReport(*row) for row in rows]
