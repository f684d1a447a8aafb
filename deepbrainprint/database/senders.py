"""Who may send: rulings by people, and the senders that no ruling admits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all

_NOTICED_AT_MOST = 1000


@dataclass(frozen=True)
class SenderRuling:
    """What a person said of a calling AE title at an address; no patient identity in it."""

    calling_ae: str
    network: str  # `any`, or a network such as 10.1.2.0/24
    admitted: bool
    may_query: bool = False
    note: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None  # None until it is recorded


@dataclass(frozen=True)
class NoticedSender:
    """Associations of one sender that no ruling admitted, and what became of the last one."""

    calling_ae: str  # as sent, odd characters escaped
    address: str
    reason_code: str
    outcome: str  # refused, quarantined or accepted
    called_ae: str
    times: int
    first_at: datetime
    last_at: datetime


def sender_rulings(connection: Connection) -> list[SenderRuling]:
    """Everything that was ever ruled, newest first; the newest that covers a sender counts."""
    return [SenderRuling(*row) for row in fetch_all(connection, "sender_rulings")]


def record_ruling(connection: Connection, ruling: SenderRuling) -> None:
    """Append a ruling; the time is PostgreSQL's."""
    values = asdict(ruling)
    del values["decided_at"]
    execute(connection, "insert_sender_ruling", **values)


def record_noticed(connection: Connection, noticed: Sequence[NoticedSender]) -> None:
    """Add to what is known of senders that nobody admitted; the oldest are forgotten in the end."""
    batch = json.dumps([asdict(one) for one in noticed], default=_plain)
    execute(connection, "record_noticed_senders", batch=batch)
    execute(connection, "trim_noticed_senders", keep=_NOTICED_AT_MOST)


def noticed_senders(connection: Connection) -> list[NoticedSender]:
    """Senders that no ruling admitted when they came, newest first."""
    return [NoticedSender(*row) for row in fetch_all(connection, "noticed_senders")]


def _plain(value: Any) -> str:
    return str(value.isoformat())
