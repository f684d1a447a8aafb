"""Short questions that tests ask of the database."""

from __future__ import annotations

from typing import Any

from deepbrainprint.database.connection import Database


def rows(database: Database, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def count(database: Database, table: str) -> int:
    """How many rows a table has."""
    return int(rows(database, f"select count(*) from {table}")[0][0])
