"""Starts services as processes of their own and reads their logs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deepbrainprint.database.connection import Database
from deepbrainprint.settings import Settings
from tests.rows import rows

_START = (
    "from deepbrainprint.settings import load_settings; "
    "from deepbrainprint.intake.{module} import {function} as run; run(load_settings())"
)


class Service:
    """One running process and its log."""

    def __init__(self, module: str, function: str, settings: Settings, log: Path) -> None:
        self.settings = settings
        self.log = log
        self._code = _START.format(module=module, function=function)
        self.process = self._spawn()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Log lines so far, all of which are JSON; those of one event when it is named."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if not name or line["event"] == name]

    def wait_for(self, name: str, *, times: int = 1) -> dict[str, Any]:
        """The newest line of an event, as soon as it was logged so often."""
        wait_until(lambda: len(self.events(name)) >= times or self.process.poll() is not None)
        assert len(self.events(name)) >= times, self.log.read_text()
        return self.events(name)[-1]

    def kill(self) -> None:
        """End the process and those that it started as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Start it again after it ended; the log goes on."""
        self.process = self._spawn()

    def stop(self) -> int:
        """Ask the process to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", self._code],
                stderr=log,
                env=environment(self.settings),
                start_new_session=True,
            )


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables that say what `settings` says."""
    values = settings.model_dump(exclude_unset=True)
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("DBP_")},
        **{f"DBP_{name.upper()}": _plain(value) for name, value in values.items()},
    }


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Return when `condition` holds, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


@contextmanager
def closed_to_all(postgres_url: str, database: Database) -> Iterator[None]:
    """As if PostgreSQL were away: nobody gets into one database, and nobody stays in."""
    [(name,)] = rows(database, "select current_database()")
    administration = Database(postgres_url)
    rows(administration, f"alter database {name} allow_connections false")
    rows(
        administration,
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
        name,
    )
    yield
    rows(administration, f"alter database {name} allow_connections true")
    administration.close()


def _plain(value: Any) -> str:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
