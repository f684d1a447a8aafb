"""Starts the parts, keeps them running, stops them. One thread, one process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import structlog

from deepbrainprint.errors import DeepBrainPrintError, TryAgain
from deepbrainprint.settings import Settings
from deepbrainprint.stack import airflow, postgres
from deepbrainprint.stack.account import choose_account
from deepbrainprint.stack.child import Child
from deepbrainprint.stack.health import find_faults
from deepbrainprint.stack.layout import Layout, lay_out
from deepbrainprint.stack.ledger import (
    READY,
    Ledger,
    StackInfo,
    boot_id,
    failure_of,
    hold_lock,
    read_ledger,
    write_ledger,
)
from deepbrainprint.stack.part import (
    Part,
    kill_session,
    session_members,
)
from deepbrainprint.stack.plan import Plan, airflow_environment, plan_stack, service_parts
from deepbrainprint.workflow.registering import migrate_database

_LOOK_SECONDS = 0.25
_RECOVERY_SECONDS = 600.0  # PostgreSQL may have a long log to replay after a crash

log = structlog.get_logger()
Report = Callable[[str], None]


class _StopAsked(BaseException):
    """SIGTERM or SIGINT came; not an Exception, so that nothing on the way swallows it."""


class Supervisor:
    """The parent of all parts of one home."""

    def __init__(self, layout: Layout, report: Report) -> None:
        self._layout = layout
        self._report = report
        self._children: list[Child] = []
        self._info: StackInfo | None = None
        self._written = Ledger(os.getpid(), boot_id(), phase="")

    def run(self, settings: Settings) -> None:
        """Start everything and look after it until a signal comes. Raises what start-up met."""
        _on_signals(_ask_to_stop)
        try:
            self._say("clears what an earlier stack left")
            self._prepare(settings)
            self._look_after()
        except _StopAsked:
            log.info("stop asked")
        except DeepBrainPrintError as error:
            log.error("start failed", code=error.code, reason=str(error))  # noqa: TRY400
            self._write(failure=failure_of(error))
            raise
        finally:
            _on_signals(signal.SIG_IGN)
            self._stop_all()

    def _prepare(self, settings: Settings) -> None:
        plan = plan_stack(self._layout, settings)
        self._info = plan.info
        for note in plan.info.notes:
            self._report(note)
        self._start_postgres()
        self._say("prepares the databases")
        self._prepare_databases(plan)
        for part in self._parts_above_postgres(plan):
            self._children.append(Child(part))

    def _start_postgres(self) -> None:
        self._say("starts PostgreSQL")
        account = choose_account()
        postgres.prepare_cluster(self._layout, account)
        child = Child(postgres.postgres_part(self._layout, account))
        self._children.append(child)
        until = time.monotonic() + _RECOVERY_SECONDS
        while not postgres.is_ready(self._layout):
            if not child.runs or time.monotonic() > until:
                raise TryAgain(
                    f"PostgreSQL does not start: its reason is at the end of {child.part.log}",
                    code="postgres_not_started",
                )
            time.sleep(0.1)

    def _prepare_databases(self, plan: Plan) -> None:
        migrate_database(plan.settings)
        airflow.configure_airflow(self._layout, plan.settings, port=plan.airflow_port)
        airflow.migrate_airflow(self._layout, airflow_environment(self._layout, plan.settings))

    def _parts_above_postgres(self, plan: Plan) -> Sequence[Part]:
        environment = airflow_environment(self._layout, plan.settings)
        return [
            *airflow.airflow_parts(self._layout, environment),
            *service_parts(self._layout, plan.settings),
        ]

    def _look_after(self) -> NoReturn:
        while True:
            for child in self._children:
                child.tend()
            if self._written.phase != READY:
                self._refuse_hopeless()
                self._say(self._awaited())
            self._write()
            time.sleep(_LOOK_SECONDS)

    def _refuse_hopeless(self) -> None:
        for child in self._children:
            if child.hopeless:
                raise child.hopeless

    def _awaited(self) -> str:
        if self._info is None:
            return "starts"
        faults = find_faults(self._layout, self._info, [child.player for child in self._children])
        waiting = [name for name, words in faults.items() if words]
        return f"waits for {', '.join(waiting)}" if waiting else READY

    def _say(self, phase: str) -> None:
        if phase != self._written.phase:
            self._report(phase)
        self._write(phase=phase)

    def _write(
        self, *, phase: str | None = None, failure: tuple[str, str, str] | None = None
    ) -> None:
        now = Ledger(
            os.getpid(),
            self._written.boot,
            self._written.phase if phase is None else phase,
            self._info,
            tuple(child.player for child in self._children),
            failure,
        )
        if now != self._written:
            write_ledger(self._layout, now)
            self._written = now

    def _stop_all(self) -> None:
        """Wave by wave, PostgreSQL last; within a wave all at once."""
        for wave in sorted({child.part.wave for child in self._children}):
            leaving = [child for child in self._children if child.part.wave == wave]
            for child in leaving:
                child.ask_to_stop()
            asked = time.monotonic()
            for child in leaving:
                child.see_off(asked + child.part.grace_seconds)


def supervise(settings: Settings, *, report: Report) -> None:
    """Run the whole stack in this process until SIGTERM or SIGINT.

    Conflict when the stack of this home runs already; Misconfigured and TryAgain when it cannot
    start, with everything stopped again.
    """
    layout = lay_out(settings)
    with hold_lock(layout):
        stop_leftovers(layout)
        Supervisor(layout, report).run(settings)


def stop_leftovers(layout: Layout) -> None:
    """End what outlived a killed supervisor. Call with the lock held."""
    ledger = read_ledger(layout)
    if ledger is None or ledger.boot != boot_id():
        return
    for player in ledger.players:
        members = session_members(player.pid, born_after=player.created - 1) if player.pid else []
        if any(process.pid == player.pid and player.name == "postgres" for process in members):
            continue  # it is shut down in order when its cluster is prepared
        if members:
            log.warning("leftover of an earlier stack killed", part=player.name)
            kill_session(player.pid, born_after=player.created - 1)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)


def _ask_to_stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _StopAsked
