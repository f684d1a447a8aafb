"""The hours in which a PACS may be asked, such as 22:00-06:00 local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Self

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.pull.clock import Clock

_LONGEST_WAIT_SECONDS = 30.0  # looked again after this, so that a changed clock is seen


@dataclass(frozen=True)
class Window:
    """From one time of day to another; over midnight when it ends before it begins."""

    begin: time
    end: time

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 22:00-06:00. BadStudy with code `bad_window` for anything else."""
        match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
        if match is None or match.group(1, 2) == match.group(3, 4):
            raise BadStudy(
                "--window reads begin-end in local time, such as 22:00-06:00", code="bad_window"
            )
        hour, minute, last_hour, last_minute = map(int, match.groups())
        return cls(time(hour, minute), time(last_hour, last_minute))

    def is_open(self, moment: datetime) -> bool:
        """Whether `moment` (local time) is within; the end is not."""
        now = moment.time()
        if self.begin < self.end:
            return self.begin <= now < self.end
        return now >= self.begin or now < self.end

    def wait(self, clock: Clock) -> None:
        """Return when the window is open. TryAgain with code `stopped` when asked to end."""
        while not self.is_open(clock.now()):
            clock.wait(_LONGEST_WAIT_SECONDS)
