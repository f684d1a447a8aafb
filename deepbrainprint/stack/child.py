"""A part and the process that plays it now: started, buried, started again."""

from __future__ import annotations

import subprocess
import time

import structlog

from deepbrainprint.errors import DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.stack.ledger import Player
from deepbrainprint.stack.part import Part, kill_session, last_line, signal_leader, start

_STEADY_SECONDS = 60.0  # a part that lived this long starts again at once
_LONGEST_PAUSE_SECONDS = 30.0
_TRIES = 3  # at start-up; later a part is started again for ever

log = structlog.get_logger()


class Child:
    """One part and the process that plays it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._restarts = 0
        self._quick_deaths = 0
        self._last_code: int | None = None
        self._words = ""
        self._resume_at = 0.0
        self._begin()

    @property
    def player(self) -> Player:
        """The process as others see it."""
        pid = 0 if self._process is None else self._process.pid
        return Player(self.part.name, pid, self._created, self._restarts, self._words)

    @property
    def runs(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def hopeless(self) -> DeepBrainPrintError | None:
        """Why a start is given up: it says that a setting is wrong, or dies again and again."""
        log_file = self.part.log
        if self.part.ours and self._last_code == Misconfigured.exit_code:
            return Misconfigured(last_line(log_file).removeprefix("deepbrainprint: "))
        if self._quick_deaths < _TRIES:
            return None
        return TryAgain(
            f"{self.part.name} does not start: its reason is at the end of {log_file}",
            code="part_not_started",
        )

    def tend(self) -> None:
        """Notice a death; start again when the pause is over."""
        if self._process is not None and self._process.poll() is not None:
            self._bury(self._process)
        elif self._process is None and time.monotonic() >= self._resume_at:
            self._restarts += 1
            self._begin()

    def ask_to_stop(self) -> None:
        """Send the part's stop signal."""
        if self._process is not None and self.runs:
            signal_leader(self._process.pid, self.part.stop_signal)

    def see_off(self, until: float) -> None:
        """Wait for the end; kill at `until` (monotonic) what is left."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("part does not stop, killed", part=self.part.name)
        kill_session(self._process.pid, born_after=self._created - 1)
        self._process.wait()
        log.info("part stopped", part=self.part.name)

    def _begin(self) -> None:
        self._created = time.time()
        self._process: subprocess.Popen[bytes] | None = start(self.part)
        log.info("part started", part=self.part.name, pid=self._process.pid)

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        kill_session(process.pid, born_after=self._created - 1)
        steady = time.time() - self._created > _STEADY_SECONDS
        self._last_code = process.returncode
        self._quick_deaths = 0 if steady else self._quick_deaths + 1
        pause = min(_LONGEST_PAUSE_SECONDS, 2.0**self._quick_deaths - 1)
        self._resume_at = time.monotonic() + pause
        self._words = (
            f"ended with code {process.returncode}, starts again after {pause:.0f} s: "
            f"see {self.part.log}"
        )
        self._process = None
        log.warning("part ended", part=self.part.name, code=process.returncode, pause=pause)
