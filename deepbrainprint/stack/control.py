"""What the command line does with a stack: start it, stop it, look at it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.settings import Settings
from deepbrainprint.stack import airflow
from deepbrainprint.stack.health import find_faults
from deepbrainprint.stack.layout import Layout, lay_out, layout_of
from deepbrainprint.stack.ledger import (
    READY,
    Ledger,
    StackInfo,
    hold_lock,
    is_running,
    raise_failure,
    read_ledger,
)
from deepbrainprint.stack.plan import environment_of
from deepbrainprint.stack.supervisor import Report, stop_leftovers, supervise

_STOP_SECONDS = 90.0
_LOOK_SECONDS = 0.1


class PartState(StrEnum):
    """How one part is."""

    UP = "up"
    STARTING = "starting"
    DOWN = "down"


@dataclass(frozen=True)
class PartStatus:
    """One line of `deepbrainprint status`."""

    name: str
    state: PartState
    words: str  # what is wrong, or nothing
    pid: int
    restarts: int
    log: Path


@dataclass(frozen=True)
class StackStatus:
    """What is up, where it answers and what is wrong. `info` is None when it never ran."""

    running: bool
    phase: str
    info: StackInfo | None
    password: SecretStr  # of the Airflow pages' user
    parts: tuple[PartStatus, ...]

    @property
    def healthy(self) -> bool:
        """True when every part works."""
        return self.running and all(part.state is PartState.UP for part in self.parts)


def up(settings: Settings, *, report: Report, wait_seconds: float = 300.0) -> StackInfo:
    """Start the stack in the background and wait until every part works.

    `report` gets a few words whenever what it waits for changes. A stack that runs already is
    only waited for. Misconfigured and TryAgain say why it cannot start.
    """
    layout = lay_out(settings)
    process = None
    if is_running(layout):
        report("runs already")
    else:
        process = _spawn_supervisor(layout, settings)
    return _await_ready(layout, process, report, time.monotonic() + wait_seconds)


def run_foreground(settings: Settings, *, report: Report) -> None:
    """Run the stack in this process until SIGTERM or Ctrl-C."""
    supervise(settings, report=report)


def down(settings: Settings) -> bool:
    """Stop the stack and wait for its end; False when it was not running.

    Misconfigured when it belongs to another user.
    """
    layout = layout_of(settings)
    if not layout.lock.exists():
        return False
    ran = is_running(layout)
    if ran:
        _stop_supervisor(layout)
    with hold_lock(layout):
        stop_leftovers(layout)
    return ran


def status(settings: Settings) -> StackStatus:
    """Ask every part now."""
    layout = layout_of(settings)
    ledger = read_ledger(layout)
    running = is_running(layout)
    if ledger is None or ledger.info is None:
        return StackStatus(running, "" if ledger is None else ledger.phase, None, SecretStr(""), ())
    return StackStatus(
        running,
        ledger.phase if running else "down",
        ledger.info,
        SecretStr(airflow.read_password(layout, ledger.info.airflow_user)),
        _part_statuses(layout, ledger, ledger.info, running=running),
    )


def settings_of_home(settings: Settings) -> Settings:
    """`settings` completed by what a running stack under its home chose; else unchanged."""
    layout = layout_of(settings)
    ledger = read_ledger(layout)
    if ledger is None or ledger.info is None or not is_running(layout):
        return settings
    info = ledger.info
    chosen = {
        "home": layout.home,
        "database_url": SecretStr(info.database_url),
        "listener_port": info.listener_port,
        "airflow_url": info.airflow_url,
        "airflow_user": info.airflow_user,
        "airflow_password": SecretStr(airflow.read_password(layout, info.airflow_user)),
        "unknown_senders": info.unknown_senders,
    }
    asked = settings.model_fields_set - {"home"}
    return settings.model_copy(update={k: v for k, v in chosen.items() if k not in asked})


def _spawn_supervisor(layout: Layout, settings: Settings) -> subprocess.Popen[bytes]:
    absolute = settings.model_copy(update={"home": layout.home})
    path = layout.log("supervisor")
    path.touch(mode=0o600)
    with path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deepbrainprint.stack"],
            env=environment_of(absolute),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )


def _await_ready(
    layout: Layout, process: subprocess.Popen[bytes] | None, report: Report, until: float
) -> StackInfo:
    said = ""
    while time.monotonic() < until:
        ledger = read_ledger(layout)
        if ledger is not None and (process is None or ledger.pid == process.pid):
            if ledger.failure:
                _await_end(process)
                raise_failure(ledger.failure)
            if ledger.phase == READY and ledger.info is not None:
                return ledger.info
            said = _tell(report, ledger.phase, said)
        _refuse_dead(layout, process)
        time.sleep(_LOOK_SECONDS)
    raise TryAgain(
        f"the stack is not ready in time, it {said}: see {layout.logs}", code="stack_not_ready"
    )


def _await_end(process: subprocess.Popen[bytes] | None) -> None:
    """Let a failed start finish its cleaning, so that the next one finds an empty stage."""
    if process is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)


def _tell(report: Report, phase: str, said: str) -> str:
    if phase and phase != said:
        report(phase)
    return phase


def _refuse_dead(layout: Layout, process: subprocess.Popen[bytes] | None) -> None:
    ended = not is_running(layout) if process is None else process.poll() is not None
    ledger = read_ledger(layout)
    if ended and not (ledger and ledger.failure):
        raise TryAgain(
            f"the stack ended while it started: see {layout.log('supervisor')}",
            code="stack_ended",
        )


def _stop_supervisor(layout: Layout) -> None:
    ledger = read_ledger(layout)
    if ledger is None:
        raise TryAgain("the stack is just starting: try again", code="stack_starting")
    try:
        os.kill(ledger.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Misconfigured(
            "the stack belongs to another user: stop it as that user", code="stack_of_another_user"
        ) from None
    until = time.monotonic() + _STOP_SECONDS
    while is_running(layout):
        if time.monotonic() > until:
            raise TryAgain(
                f"the stack does not stop: see {layout.log('supervisor')}", code="stack_not_stopped"
            )
        time.sleep(_LOOK_SECONDS)


def _part_statuses(
    layout: Layout, ledger: Ledger, info: StackInfo, *, running: bool
) -> tuple[PartStatus, ...]:
    faults = find_faults(layout, info, ledger.players) if running else {}
    return tuple(
        PartStatus(
            player.name,
            _state(faults.get(player.name, "down"), running=running, pid=player.pid),
            faults.get(player.name, ""),
            player.pid if running else 0,
            player.restarts,
            layout.log(player.name),
        )
        for player in ledger.players
    )


def _state(fault: str, *, running: bool, pid: int) -> PartState:
    if not running or not pid:
        return PartState.DOWN
    return PartState.STARTING if fault else PartState.UP
