"""Time as a pull sees it: what is asked for the hour, and who waits; a stop ends every wait."""

from __future__ import annotations

import threading
import time
from datetime import datetime

from deepbrainprint.errors import TryAgain

STOPPED = "stopped"


class Clock:
    """The clock of this machine."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now(self) -> datetime:
        """Local time, as an off-peak window means it."""
        return datetime.now()  # noqa: DTZ005 — windows are in local time

    def seconds(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait. TryAgain with code `stopped` as soon as somebody asks us to end."""
        self._stop.wait(max(0.0, seconds))
        self.require_going()

    def require_going(self) -> None:
        """TryAgain with code `stopped` when we are asked to end."""
        if self._stop.is_set():
            raise TryAgain("the pull was stopped", code=STOPPED)
