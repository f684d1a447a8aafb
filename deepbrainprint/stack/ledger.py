"""What the supervisor tells everyone else: one small private JSON file, and a lock."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deepbrainprint.errors import Conflict, DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.stack.layout import Layout, words_for_disk, write_private

_ERRORS: tuple[type[DeepBrainPrintError], ...] = (Misconfigured, TryAgain, Conflict)


@dataclass(frozen=True)
class StackInfo:
    """Where the running stack answers and how to sign in."""

    home: Path
    airflow_url: str
    airflow_user: str
    password_file: Path
    ae_title: str
    listener_host: str
    listener_port: int
    database_url: str = dataclasses.field(repr=False)
    notes: tuple[str, ...] = ()  # what differs from the defaults, and why
    unknown_senders: str = "refuse"  # what becomes of senders that nobody admitted
    tls_port: int = 0  # 0: no DICOM over TLS
    metrics_url: str = ""
    dicomweb_url: str = ""


@dataclass(frozen=True)
class Player:
    """The process that plays a part now. pid 0: none at this moment."""

    name: str
    pid: int
    created: float  # seconds since the epoch
    restarts: int
    words: str  # what went wrong last, or nothing


@dataclass(frozen=True)
class Ledger:
    """State of the stack as its supervisor sees it."""

    pid: int
    boot: str  # numbers of processes mean nothing after a reboot
    phase: str  # what it is doing or waiting for; `ready` at the end
    info: StackInfo | None = None
    players: tuple[Player, ...] = ()
    failure: tuple[str, str, str] | None = None  # error class, code, message


READY = "ready"


def read_ledger(layout: Layout) -> Ledger | None:
    """The last state written, or None."""
    try:
        document: dict[str, Any] = json.loads(layout.ledger.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    info = document.pop("info")
    players = tuple(Player(**player) for player in document.pop("players"))
    failure = document.pop("failure")
    return Ledger(
        **document,
        info=info and _info(info),
        players=players,
        failure=failure and tuple(failure),
    )


def write_ledger(layout: Layout, ledger: Ledger) -> None:
    """Replace the state."""
    write_private(layout.ledger, json.dumps(dataclasses.asdict(ledger), default=str, indent=1))


def failure_of(error: DeepBrainPrintError) -> tuple[str, str, str]:
    """An error in a form that another process can raise."""
    return type(error).__name__, error.code, str(error)


def raise_failure(failure: tuple[str, str, str]) -> None:
    """Raise what the supervisor met."""
    name, code, message = failure
    kind = next((kind for kind in _ERRORS if kind.__name__ == name), TryAgain)
    raise kind(message, code=code)


@contextmanager
def hold_lock(layout: Layout, *, patience_seconds: float = 2.0) -> Iterator[None]:
    """Be the only supervisor of this home; Conflict when there is one. Dies with the process."""
    with words_for_disk(layout.home):
        lock = layout.lock.open("a")
    with lock:
        until = time.monotonic() + patience_seconds
        while not _locked(lock):  # a look by `is_running` holds it for an instant
            if time.monotonic() > until:
                raise Conflict(
                    "the stack of this home runs already: `deepbrainprint status` shows it",
                    code="already_running",
                )
            time.sleep(0.05)
        yield


def is_running(layout: Layout) -> bool:
    """True while a supervisor holds the lock."""
    if not layout.lock.exists():
        return False
    with layout.lock.open("a") as lock:
        return not _locked(lock)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def boot_id() -> str:
    """Names this boot of the machine; empty where the system has no such name."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text("ascii").strip() if path.exists() else ""


def _info(document: dict[str, Any]) -> StackInfo:
    return StackInfo(
        **document
        | {
            "home": Path(document["home"]),
            "password_file": Path(document["password_file"]),
            "notes": tuple(document["notes"]),
        }
    )
