"""How fast a PACS is asked."""

from __future__ import annotations

from deepbrainprint.intake.pull.clock import Clock


class Pace:
    """At most `rate` things a second, evenly; None is as fast as it goes."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._seconds_each = 1 / rate if rate else 0.0
        self._clock = clock
        self._free_at = 0.0

    def wait(self) -> None:
        """Return when the next thing may come. TryAgain with code `stopped` when asked to end."""
        seconds = self._free_at - self._clock.seconds()
        if seconds > 0:
            self._clock.wait(seconds)

    def count(self, things: int = 1) -> None:
        """So many have come; whoever waits next makes up for them."""
        self._free_at = max(self._free_at, self._clock.seconds()) + things * self._seconds_each
