"""Connections and transactions; the one place where driver errors become ours."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.pool

from deepbrainprint.errors import BadStudy, Conflict, DeepBrainPrintError, Misconfigured, TryAgain

Connection: TypeAlias = psycopg2.extensions.connection

# PostgreSQL says these in the text of a failed connection attempt; there is no SQLSTATE for them.
_WRONG_SETTING = ("password authentication failed", "does not exist", "no password supplied")


def give_up_after(seconds: float) -> None:
    """Let nothing in this process wait longer than so long for an answer of PostgreSQL.

    For doors, whose senders wait: a server that hangs is then one that is away (TryAgain). Without
    it a statement may take its time, as those of the pipeline do.
    """
    psycopg2.extensions.set_wait_callback(partial(_wait, seconds))


class Database:
    """A pool of connections to one PostgreSQL database, safe to share between threads."""

    def __init__(self, url: str, *, maximum_connections: int = 16) -> None:
        if not url:
            raise Misconfigured(
                "DBP_DATABASE_URL is empty: set it to the PostgreSQL URL of the application "
                "database, or start the embedded one with `deepbrainprint up`",
                code="no_database_url",
            )
        with _ours():
            self._pool = psycopg2.pool.ThreadedConnectionPool(
                0, maximum_connections, url, connect_timeout=5, application_name="deepbrainprint"
            )
        self._pool.minconn = maximum_connections  # connect lazily, but keep what was opened

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end, or rolled back on any error.

        Raises TryAgain when PostgreSQL is away, Misconfigured when it refuses us, Conflict when
        a unique key says that someone else was first.
        """
        with _ours(), self._taken(autocommit=False) as connection, connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own: one round trip.

        Raises what `transaction` raises.
        """
        with _ours(), self._taken(autocommit=True) as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back to the server."""
        if not self._pool.closed:
            self._pool.closeall()

    @contextmanager
    def _taken(self, *, autocommit: bool) -> Iterator[Connection]:
        connection = self._take()
        try:
            if connection.autocommit != autocommit:
                connection.autocommit = autocommit
            yield connection
        finally:
            self._pool.putconn(connection, close=bool(connection.closed))

    def _take(self) -> Connection:
        """A connection from the pool that the server has not closed while it lay there."""
        while True:
            connection: Connection = self._pool.getconn()
            if not _was_dropped(connection):
                return connection
            self._pool.putconn(connection, close=True)


def _wait(seconds: float, connection: Connection) -> None:
    deadline = time.monotonic() + seconds
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        poll = select.poll()
        reading = state == psycopg2.extensions.POLL_READ
        poll.register(connection.fileno(), select.POLLIN if reading else select.POLLOUT)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise psycopg2.OperationalError("no answer in time")


def _was_dropped(connection: Connection) -> bool:
    """An idle connection has nothing to read, unless it is the news of its end."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _ours() -> Iterator[None]:
    """Translate what the driver raises; its text may hold values, so it is not passed on."""
    try:
        yield
    except DeepBrainPrintError:
        raise
    except psycopg2.pool.PoolError:
        raise TryAgain(
            "all database connections are busy; try again", code="database_busy"
        ) from None
    except psycopg2.errors.UniqueViolation:
        raise Conflict("someone else recorded this first", code="already_recorded") from None
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedFunction):
        raise Misconfigured(
            "the database schema is out of date: run `deepbrainprint migrate`",
            code="schema_missing",
        ) from None
    except psycopg2.errors.DiskFull:
        raise TryAgain("the database's disk is full: free space on it", code="disk_full") from None
    except psycopg2.DataError:
        raise BadStudy(
            "PostgreSQL cannot hold a value of the object: correct it at its source",
            code="unreadable",
        ) from None
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise _connection_error(error) from None


def _connection_error(error: psycopg2.Error) -> DeepBrainPrintError:
    if any(phrase in str(error) for phrase in _WRONG_SETTING):
        return Misconfigured(
            "PostgreSQL refuses DBP_DATABASE_URL: correct its user, password or database name",
            code="database_refused",
        )
    return TryAgain(
        "PostgreSQL does not answer: check that it runs and that DBP_DATABASE_URL points at it",
        code="database_away",
    )
