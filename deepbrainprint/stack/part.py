"""One process of the stack: what to start, and the process that plays it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deepbrainprint.stack.account import Account

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LARGEST_LOG_BYTES = 20 << 20


@dataclass(frozen=True)
class Part:
    """What to start. Secrets travel in `environment` or in files, never in `command`."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 20.0
    wave: int = 0  # parts of a higher wave stop later, because lower ones need them to the end
    ours: bool = False  # its exit codes and the last line of its log are ours to pass on


def start(part: Part) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own; it is told to stop when we die."""
    _set_old_log_aside(part.log)
    part.log.touch(mode=0o600)
    with part.log.open("ab") as log:
        return subprocess.Popen(
            part.command,
            env=dict(part.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=part.log.parent.parent,
            start_new_session=True,
            umask=0o077,
            user=part.account.uid if part.account else None,
            group=part.account.gid if part.account else None,
            extra_groups=[] if part.account else None,
            preexec_fn=_die_with(os.getpid(), part.stop_signal),  # noqa: PLW1509 — one thread
        )


def last_line(log: Path) -> str:
    """What a process said last."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def signal_leader(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_session(session: int, *, born_after: float = 0.0) -> None:
    """Kill what is left of a session, whoever its leader was."""
    for process in session_members(session, born_after=born_after):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def session_members(session: int, *, born_after: float = 0.0) -> list[psutil.Process]:
    """Living processes of a session that began after `born_after` (seconds since the epoch)."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.create_time() >= born_after:
                members.append(process)
    return [process for process in members if process.status() != psutil.STATUS_ZOMBIE]


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """Ask the kernel for `number` when the parent is gone; only Linux can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def _set_old_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
