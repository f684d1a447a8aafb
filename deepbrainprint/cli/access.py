"""How commands reach the database, and under whose name they act."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.settings import Settings


def person() -> str:
    """The account that the person at the keyboard signed in with, as far as the system knows."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number without a name
        return f"uid {os.getuid()}"


@contextmanager
def database_of(settings: Settings, *, connections: int = 1) -> Iterator[Database]:
    """The database for the time of one command. Raises what `Database` raises."""
    database = Database(settings.database_url.get_secret_value(), maximum_connections=connections)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def connection_of(settings: Settings) -> Iterator[Connection]:
    """One transaction for the time of one command. Raises what `Database.transaction` raises."""
    with database_of(settings) as database, database.transaction() as connection:
        yield connection
