"""What pulls write and read: what was asked of a PACS, what it has, what became of each study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all, fetch_one

PullId = NewType("PullId", int)
ItemId = NewType("ItemId", int)


@dataclass(frozen=True)
class AskRow:
    """A line of a list. `value` is identity: it stays out of logs and errors."""

    position: int
    kind: str
    place: str
    value: str

    def __repr__(self) -> str:
        return f"AskRow({self.position})"  # a log line or traceback must not show the value


@dataclass(frozen=True)
class Terms:
    """What a pull was told when it began; holds no secret."""

    source: str
    protocol: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A study that is to be fetched."""

    item_id: ItemId
    study_uid: str
    expected: int | None  # instances that the PACS says it has


@dataclass(frozen=True)
class PullReport:
    """A pull and its counts."""

    pull_id: int
    source: str
    protocol: str
    state: str  # running, interrupted, stopped, done
    asked: int
    not_there: int
    asks_failed: int
    found: int
    fetched: int
    already_here: int
    failed: int
    waiting: int
    asks_waiting: int
    reason_code: str
    reason: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def missing(self) -> int:
        """Lines and studies that did not come."""
        return self.not_there + self.asks_failed + self.failed


@dataclass(frozen=True)
class AskReport:
    """A line of a list and its answer; `value` only when identity was asked for."""

    position: int
    kind: str
    place: str
    state: str
    studies: int
    reason_code: str
    reason: str
    value: str | None


@dataclass(frozen=True)
class ItemReport:
    """A study of a pull and what became of it."""

    item_id: int
    position: int
    place: str
    study_id: int | None
    state: str
    expected_instances: int | None
    instances_here: int
    attempts: int
    reason_code: str
    reason: str
    ended_at: datetime | None


def open_pull(connection: Connection, terms: Terms, asks: Sequence[AskRow]) -> PullId:
    """Remember a new pull and the lines of its list."""
    row = fetch_one(
        connection,
        "insert_pull",
        source=terms.source,
        protocol=terms.protocol,
        options=json.dumps(dict(terms.options)),
    )
    assert row is not None  # noqa: S101 — an insert gives its row
    lines = json.dumps([vars(ask) for ask in asks], ensure_ascii=False)
    execute(connection, "insert_asks", pull_id=row[0], asks=lines)
    return PullId(row[0])


def lock_pull(connection: Connection, pull_id: PullId) -> bool:
    """Hold a pull until the connection ends; False when another process holds it."""
    row = fetch_one(connection, "lock_pull", pull_id=pull_id)
    return row is not None and bool(row[0])


def pull_terms(connection: Connection, pull_id: PullId) -> Terms | None:
    """What a pull was told, or None when there is none of that number."""
    row = fetch_one(connection, "pull_terms", pull_id=pull_id)
    return None if row is None else Terms(row[1], row[2], row[3])


def reopen_pull(connection: Connection, pull_id: PullId) -> None:
    """Go on with a pull; what failed or was not there is tried again."""
    execute(connection, "reopen_pull", pull_id=pull_id)


def end_pull(
    connection: Connection, pull_id: PullId, *, state: str, code: str = "", reason: str = ""
) -> None:
    """A pull is `done`, or `stopped` for a reason without identity."""
    execute(connection, "end_pull", pull_id=pull_id, state=state, reason_code=code, reason=reason)


def waiting_asks(connection: Connection, pull_id: PullId) -> list[AskRow]:
    """Lines that the PACS has not answered yet."""
    return [AskRow(*row) for row in fetch_all(connection, "waiting_asks", pull_id=pull_id)]


def answer_ask(
    connection: Connection,
    pull_id: PullId,
    position: int,
    found: Sequence[tuple[str, int | None]],
) -> None:
    """The studies that the PACS has for a line: Study Instance UID and number of instances."""
    studies = json.dumps([{"study_uid": uid, "expected": expected} for uid, expected in found])
    execute(connection, "insert_pull_studies", pull_id=pull_id, position=position, studies=studies)
    settle_ask(connection, pull_id, position, state="answered", studies=len(found))


def settle_ask(  # noqa: PLR0913 — one argument per column
    connection: Connection,
    pull_id: PullId,
    position: int,
    *,
    state: str,
    studies: int = 0,
    code: str = "",
    reason: str = "",
) -> None:
    """The answer to a line: `answered`, `not_there` or `failed`."""
    execute(
        connection,
        "settle_ask",
        pull_id=pull_id,
        position=position,
        state=state,
        studies=studies,
        reason_code=code,
        reason=reason,
    )


def waiting_studies(connection: Connection, pull_id: PullId) -> list[Item]:
    """Studies that are still to be fetched, in the order of the list."""
    return [Item(*row) for row in fetch_all(connection, "waiting_studies", pull_id=pull_id)]


def count_attempt(connection: Connection, item_id: ItemId) -> None:
    """One more attempt at a study."""
    execute(connection, "count_attempt", item_id=item_id)


def settle_study(
    connection: Connection, item_id: ItemId, *, state: str, code: str = "", reason: str = ""
) -> None:
    """What became of a study: `fetched`, `already_here` or `failed`."""
    execute(
        connection,
        "settle_pull_study",
        item_id=item_id,
        state=state,
        reason_code=code,
        reason=reason,
    )


def instances_here(connection: Connection, study_uid: str) -> frozenset[str]:
    """SOP Instance UIDs of a study that are filed."""
    rows = fetch_all(connection, "instances_here", study_uid=study_uid)
    return frozenset(row[0] for row in rows)


def count_instances_here(connection: Connection, study_uid: str) -> int:
    """How many instances of a study are filed."""
    row = fetch_one(connection, "count_instances_here", study_uid=study_uid)
    return 0 if row is None else int(row[0])


def pull_reports(
    connection: Connection, *, pull_id: PullId | None = None, limit: int = 100
) -> list[PullReport]:
    """Pulls and their counts, newest first."""
    rows = fetch_all(connection, "pull_reports", pull_id=pull_id, limit=limit)
    return [PullReport(*row) for row in rows]


def ask_reports(connection: Connection, pull_id: PullId, *, with_identity: bool) -> list[AskReport]:
    """Lines of a pull; what they say only with `with_identity`."""
    rows = fetch_all(connection, "ask_reports", pull_id=pull_id, with_identity=with_identity)
    return [AskReport(*row) for row in rows]


def item_reports(connection: Connection, pull_id: PullId) -> list[ItemReport]:
    """Studies of a pull, with how much of each is here."""
    return [ItemReport(*row) for row in fetch_all(connection, "item_reports", pull_id=pull_id)]
