"""The association log: who connected, how it ended and what came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all


@dataclass(frozen=True)
class AssociationReport:
    """One association as it is told."""

    opened_at: datetime
    closed_at: datetime
    calling_ae: str
    called_ae: str
    address: str
    is_encrypted: bool
    ended: str
    reason_code: str
    instances: int
    repeats: int
    refusals: dict[str, int]
    size_bytes: int


def record_associations(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add associations that have ended; times are POSIX seconds."""
    execute(connection, "record_associations", rows=json.dumps(rows))


def association_reports(connection: Connection, *, limit: int) -> list[AssociationReport]:
    """Associations, newest first."""
    return [
        AssociationReport(*row) for row in fetch_all(connection, "association_reports", limit=limit)
    ]
