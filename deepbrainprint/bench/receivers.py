"""The peers: receivers that others made, each started fresh with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import httpx

from deepbrainprint.errors import TryAgain
from deepbrainprint.stack.part import Part, kill_session, last_line, start

HOST = "127.0.0.1"
WITHOUT_DELAY = {"TCP_NODELAY": "1"}  # else DCMTK's programs wait 40 ms an object

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ORTHANC_THREADS = 16  # one for each association of the widest cell
_ORTHANC_FOLDERS = f"{os.environ.get('PATH', '')}:/usr/sbin"  # where Debian puts it


@dataclass(frozen=True)
class Held:
    """What a receiver keeps: files, their bytes, and rows of its index where it has one."""

    instances: int
    size_bytes: int
    records: int


@dataclass(frozen=True)
class Door:
    """A receiver that runs: where it listens, its processes by part, what it holds."""

    port: int
    ae_title: str
    processes: Mapping[str, int]
    held: Callable[[], Held]


class Receiver(Protocol):
    """Something that takes C-STORE."""

    name: str
    most_associations: int  # at one time; 0 when it takes as many as are sent here

    def missing(self) -> str:
        """What to install before it can run; empty when it can."""

    def about(self) -> dict[str, object]:
        """Version, settings and what its Success promises."""

    def running(self, folder: Path) -> AbstractContextManager[Door]:
        """Run it, empty at first, with all that it writes in `folder`."""


class PynetdicomApp:
    """The `storescp` application of pynetdicom."""

    name = "pynetdicom"
    most_associations = 10  # more are refused, and the application has no option for it

    def missing(self) -> str:
        """Nothing: we depend on it."""
        return ""

    def about(self) -> dict[str, object]:
        """Version, settings and what its Success promises."""
        return {
            "version": version("pynetdicom"),
            "command": "python -m pynetdicom storescp PORT -od FOLDER",
            "success_means": "a file was written; no fsync, no index",
        }

    @contextmanager
    def running(self, folder: Path) -> Iterator[Door]:
        """Run it, empty at first."""
        port, stored = free_port(), _made(folder / "stored")
        command = (sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(stored))
        with process(part(self.name, command, folder), port) as pid:
            yield Door(port, "STORESCP", {"receiver": pid}, lambda: held_in(stored))


class DcmtkStorescp:
    """DCMTK's `storescp`, by default with a process for each association."""

    name = "dcmtk"
    most_associations = 0

    def __init__(self, *options: str) -> None:
        self._options = options or ("--fork",)

    def missing(self) -> str:
        """What to install before it can run."""
        return "" if dcmtk("storescp") else "the package dcmtk, for storescp"

    def about(self) -> dict[str, object]:
        """Version, settings and what its Success promises."""
        return {
            "version": first_line(dcmtk("storescp"), "--version"),
            "command": " ".join(("storescp", *self._options, "-od FOLDER PORT")),
            "success_means": "a file was written; no fsync, no index",
        }

    @contextmanager
    def running(self, folder: Path) -> Iterator[Door]:
        """Run it, empty at first."""
        port, stored = free_port(), _made(folder / "stored")
        command = (dcmtk("storescp"), *self._options, "-od", str(stored), str(port))
        with process(part(self.name, command, folder), port) as pid:
            yield Door(port, "STORESCP", {"receiver": pid}, lambda: held_in(stored))


class Orthanc:
    """Orthanc with SQLite, as its package sets it up."""

    name = "orthanc"
    most_associations = 0

    def missing(self) -> str:
        """What to install before it can run."""
        return "" if _orthanc() else "the package orthanc"

    def about(self) -> dict[str, object]:
        """Version, settings and what its Success promises."""
        return {
            "version": first_line(_orthanc(), "--version"),
            "command": "Orthanc CONFIGURATION",
            "configuration": _orthanc_settings(Path("FOLDER"), 0, 0),
            "success_means": "the file was fsynced (SyncStorageArea, its default); row in SQLite",
        }

    @contextmanager
    def running(self, folder: Path) -> Iterator[Door]:
        """Run it, empty at first."""
        port, web = free_port(), free_port()
        configuration = _made(folder) / "orthanc.json"
        configuration.write_text(json.dumps(_orthanc_settings(folder / "stored", port, web)))
        command = (_orthanc(), str(configuration))
        with process(part(self.name, command, folder), port) as pid:
            yield Door(port, "ORTHANC", {"receiver": pid}, lambda: _orthanc_holds(web))


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


def part(
    name: str, command: tuple[str, ...], folder: Path, extra: Mapping[str, str] | None = None
) -> Part:
    """A program to run in `folder`, with `extra` in its environment."""
    log = _made(folder / "logs") / f"{name}.log"
    return Part(name, command, {**os.environ, **WITHOUT_DELAY, **(extra or {})}, log)


@contextmanager
def process(played: Part, port: int) -> Iterator[int]:
    """Run a program; its process id, as soon as its port takes connections.

    TryAgain when it does not come up.
    """
    running = start(played)
    try:
        await_that(lambda: _answers(port), running, played)
        yield running.pid
    finally:
        stop(running, played)


def await_that(
    condition: Callable[[], bool], running: subprocess.Popen[bytes], played: Part
) -> None:
    """Return when `condition` holds. TryAgain when the program ends or it takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if running.poll() is not None or time.monotonic() > deadline:
            raise TryAgain(
                f"{played.name} does not start: {last_line(played.log)}",
                code="receiver_not_started",
            )
        time.sleep(0.05)


def stop(running: subprocess.Popen[bytes], played: Part) -> None:
    """Ask a program to end, then end what is left of it."""
    with suppress(ProcessLookupError):
        running.send_signal(played.stop_signal)
    with suppress(subprocess.TimeoutExpired):
        running.wait(_STOP_SECONDS)
    kill_session(running.pid)
    running.wait()


def held_in(folder: Path) -> Held:
    """Files in a folder."""
    sizes = [entry.stat().st_size for entry in os.scandir(folder)]
    return Held(len(sizes), sum(sizes), len(sizes))


def dcmtk(program: str) -> str:
    """Path of one of DCMTK's programs, or nothing.

    pynetdicom installs namesakes beside the Python that runs this; with its environment activated
    they would be found first.
    """
    others = os.environ.get("PATH", "").split(os.pathsep)
    beside = Path(sys.executable).parent
    folders = [folder for folder in others if Path(folder) != beside]
    return shutil.which(program, path=os.pathsep.join(folders)) or ""


def first_line(*command: str) -> str:
    """What a program says first."""
    said = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
    lines = (said.stdout or said.stderr).strip().splitlines()
    return lines[0].strip("$ ") if lines else ""


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=5):
        return True
    return False


def _orthanc() -> str:
    return shutil.which("Orthanc", path=_ORTHANC_FOLDERS) or ""


def _orthanc_settings(store: Path, port: int, web: int) -> dict[str, object]:
    """What differs from Orthanc's own defaults."""
    return {
        "StorageDirectory": str(store),
        "IndexDirectory": str(store),
        "DicomPort": port,
        "HttpPort": web,
        "DicomCheckCalledAet": False,
        "DicomThreadsCount": _ORTHANC_THREADS,
        "AuthenticationEnabled": False,
    }


def _orthanc_holds(web: int) -> Held:
    said = httpx.get(f"http://{HOST}:{web}/statistics", timeout=60).raise_for_status().json()
    count = int(said["CountInstances"])
    return Held(count, int(said["TotalDiskSize"]), count)
