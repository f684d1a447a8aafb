"""Tokens by which DICOMweb clients say who they are; what they look like is known to them alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.connection import Database
from deepbrainprint.database.tokens import (
    StoredToken,
    insert_token,
    note_token_use,
    revoke_token,
    token_by_digest,
)
from deepbrainprint.errors import BadStudy, Conflict, TryAgain
from deepbrainprint.settings import Settings

_PREFIX = "dbp_"  # lets scanners for leaked secrets know one
_RANDOM_BYTES = 32


class Right(StrEnum):
    """What a token may be used for."""

    STORE = "store"
    QUERY = "query"


@dataclass(frozen=True)
class Holder:
    """Who a request comes from; `name` is also the calling AE title of what it stores."""

    name: str
    rights: frozenset[Right]


def new_token(
    database: Database, name: str, rights: frozenset[Right], *, days: int, by: str
) -> str:
    """Make a token that counts for some days; the text returned is kept nowhere.

    `by` is the person who makes it. BadStudy with code `bad_token` for a name that is none or
    without rights; Conflict with code `token_exists` when a token of that name counts.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,16}", name, re.ASCII):
        raise BadStudy(
            "a token's name has 1 to 16 letters, digits, dots, hyphens and underscores: "
            "it is also the sender's name of what is stored with it",
            code="bad_token",
        )
    if not rights:
        raise BadStudy("a token needs a right: add --may store or --may query", code="bad_token")
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    try:
        with database.transaction() as connection:
            insert_token(
                connection,
                name=name,
                sha256=_digest(secret),
                may_store=Right.STORE in rights,
                may_query=Right.QUERY in rights,
                days=days,
            )
            record_act(connection, _act(by, "token_made", name, rights=sorted(rights), days=days))
    except Conflict:
        raise Conflict(
            f"there is a token {name} already: revoke it first, or choose another name",
            code="token_exists",
        ) from None
    return secret


def end_token(database: Database, name: str, *, by: str) -> None:
    """Let a token count no more. BadStudy with code `no_such_token` when none of that name does."""
    with database.transaction() as connection:
        if not revoke_token(connection, name):
            raise BadStudy(
                "no token of that name counts: `deepbrainprint token list` shows all",
                code="no_such_token",
            )
        record_act(connection, _act(by, "token_revoked", name))


class Tokens:
    """Says whose a token is, asking the database each time: a revoked one counts no more at once.

    While PostgreSQL is away, those seen before count on for as long as instances are taken
    without it. Thread-safe.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._remembered_seconds = settings.journal_minutes * 60
        self._database = database
        self._seen: dict[str, tuple[Holder, float]] = {}

    def holder(self, secret: str) -> Holder | None:
        """Whose token it is; None when it is unknown, expired or revoked.

        TryAgain when PostgreSQL does not answer and the token was not seen lately.
        """
        digest = _digest(secret)
        try:
            stored = self._looked_up(digest)
        except TryAgain:
            seen = self._seen.get(digest)
            if seen is None or time.monotonic() - seen[1] > self._remembered_seconds:
                raise
            return seen[0]
        if stored is None:
            self._seen.pop(digest, None)
            return None
        holder = Holder(stored.name, _rights(stored))
        self._seen[digest] = holder, time.monotonic()
        return holder

    def _looked_up(self, digest: str) -> StoredToken | None:
        with self._database.statement() as connection:
            stored = token_by_digest(connection, digest)
            if stored is None or not hmac.compare_digest(stored.sha256, digest):
                return None
            if stored.expired or stored.revoked:
                return None
            note_token_use(connection, stored.token_id)
        return stored


def _act(by: str, act: str, name: str, **details: object) -> Act:
    return Act(actor=by, act=act, subject_kind="token", subject_id=name, details=details)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _rights(stored: StoredToken) -> frozenset[Right]:
    may = {Right.STORE: stored.may_store, Right.QUERY: stored.may_query}
    return frozenset(right for right, allowed in may.items() if allowed)
