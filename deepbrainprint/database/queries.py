"""Loads the named queries of `sql/queries/*.sql` and runs them by name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from deepbrainprint.database.connection import Connection

Row = tuple[Any, ...]


def sql_folder() -> Path:
    """The folder `sql/` of this installation; it stands beside the package."""
    return Path(__file__).resolve().parents[2] / "sql"


@cache
def named_queries() -> dict[str, str]:
    """All query texts by name. ValueError when two share a name."""
    found: dict[str, str] = {}
    for path in sorted((sql_folder() / "queries").glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
            name, query = block.split("\n", 1)
            if name in found:
                raise ValueError(f"two queries are named {name}")
            found[name] = query
    return found


def fetch_all(connection: Connection, name: str, /, **values: object) -> list[Row]:
    """All rows of one named query."""
    with connection.cursor() as cursor:
        cursor.execute(named_queries()[name], values)
        return cursor.fetchall()


def fetch_one(connection: Connection, name: str, /, **values: object) -> Row | None:
    """The first row of one named query, or None."""
    with connection.cursor() as cursor:
        cursor.execute(named_queries()[name], values)
        return cursor.fetchone()


def execute(connection: Connection, name: str, /, **values: object) -> int:
    """Run one named query that returns nothing; the number of rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(named_queries()[name], values)
        return cursor.rowcount
