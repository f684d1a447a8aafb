"""Brings a database up to date: forward only, plain SQL, one transaction a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.queries import sql_folder
from deepbrainprint.errors import Misconfigured

_LOCK = 0x0DEE9B81  # any constant: two migrations at once wait for each other

_LEDGER = """
create table if not exists public.schema_migration (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""


def migrate(database: Database) -> list[str]:
    """Apply what is missing, in order; the names of what was applied.

    Misconfigured when a file that was applied has changed since.
    """
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(_LEDGER)
        cursor.execute("select name, sha256 from public.schema_migration")
        applied = dict(cursor.fetchall())
        return [path.stem for path in migration_files() if _apply(connection, path, applied)]


def migration_files() -> list[Path]:
    """Migration files in order. Misconfigured when a name is not `NNNN_verb_object.sql`."""
    paths = sorted((sql_folder() / "migrations").glob("*.sql"))
    for number, path in enumerate(paths, start=1):
        if not re.fullmatch(rf"{number:04d}_[a-z]+(_[a-z0-9]+)+\.sql", path.name):
            raise Misconfigured(f"{path.name} is not migration {number:04d}_verb_object.sql")
    return paths


def _apply(connection: Connection, path: Path, applied: dict[str, str]) -> bool:
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if path.stem in applied:
        _refuse_changed(path, same=applied[path.stem] == digest)
        return False
    with connection.cursor() as cursor:
        cursor.execute(text)
        cursor.execute(
            "insert into public.schema_migration (name, sha256) values (%s, %s)",
            (path.stem, digest),
        )
    return True


def _refuse_changed(path: Path, *, same: bool) -> None:
    if not same:
        raise Misconfigured(
            f"migration {path.stem} changed after it was applied: restore it and add a new one",
            code="migration_changed",
        )
