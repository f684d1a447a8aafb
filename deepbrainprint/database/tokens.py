"""Tokens of DICOMweb clients: what is kept of one is the digest that finds it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all, fetch_one


@dataclass(frozen=True)
class StoredToken:
    """What is known of a token."""

    token_id: int
    name: str
    sha256: str
    may_store: bool
    may_query: bool
    expired: bool
    revoked: bool


@dataclass(frozen=True)
class TokenReport:
    """One token, for a list."""

    name: str
    may_store: bool
    may_query: bool
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def insert_token(  # noqa: PLR0913 — one argument per column
    connection: Connection, *, name: str, sha256: str, may_store: bool, may_query: bool, days: int
) -> None:
    """Remember a token for some days. Conflict when a token of that name counts already."""
    execute(
        connection,
        "insert_token",
        name=name,
        sha256=sha256,
        may_store=may_store,
        may_query=may_query,
        days=days,
    )


def token_by_digest(connection: Connection, sha256: str) -> StoredToken | None:
    """The token with a digest, expired and revoked ones included, or None."""
    row = fetch_one(connection, "token_by_digest", sha256=sha256)
    return None if row is None else StoredToken(*row)


def note_token_use(connection: Connection, token_id: int) -> None:
    """Remember that a token was used just now, to the minute."""
    execute(connection, "note_token_use", token_id=token_id)


def revoke_token(connection: Connection, name: str) -> bool:
    """Let a token count no more; False when there is none of that name."""
    return fetch_one(connection, "revoke_token", name=name) is not None


def token_reports(connection: Connection) -> list[TokenReport]:
    """All tokens, newest first."""
    return [TokenReport(*row) for row in fetch_all(connection, "token_reports")]
