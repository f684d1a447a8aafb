"""Where fetched instances go: through the same filing as those that modalities send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pulls import count_instances_here, instances_here
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.pull.clock import Clock
from deepbrainprint.intake.pull.pace import Pace

log = structlog.get_logger()


@dataclass
class Received:
    """What came for one study."""

    instances: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # reason code by SOP Instance UID
    trouble: TryAgain | None = None  # our own: disk, database, or we are to stop


class Inbox:
    """Takes instances at the pace that was set; one study at a time."""

    def __init__(self, filing: Filing, database: Database, pace: Pace, clock: Clock) -> None:
        self.clock = clock
        self.pace = pace
        self.received = Received()
        self.instances = 0  # of all studies
        self.on_arrival: Callable[[], None] = lambda: None
        self._filing = filing
        self._database = database

    def begin_study(self) -> None:
        """Count anew."""
        self.received = Received()

    def take(self, request: Request, chunks: Iterable[bytes]) -> None:
        """File one instance. Raises what `Filing.finish` raises, and remembers it."""
        try:
            self.clock.require_going()
            self.pace.wait()
            arrival = self._filing.receive(request, chunks)
        except BadStudy as error:
            self.received.refused[request.sop_instance_uid] = error.code
            log.warning("instance_refused", code=error.code, reason=str(error))
            raise
        except TryAgain as error:
            self.received.trouble = error
            raise
        self.pace.count()
        self.received.instances += 1
        self.instances += arrival is Arrival.NEW
        self.on_arrival()

    def took_elsewhere(self, instances: int) -> None:
        """So many came by the listener; the next study makes up for their pace."""
        self.received.instances += instances
        self.instances += instances
        self.pace.count(instances)

    def here(self, study_uid: str) -> frozenset[str]:
        """SOP Instance UIDs of a study that are filed."""
        with self._database.transaction() as connection:
            return instances_here(connection, study_uid)

    def count_here(self, study_uid: str) -> int:
        """How many instances of a study are filed."""
        with self._database.transaction() as connection:
            return count_instances_here(connection, study_uid)

    def await_elsewhere(self, study_uid: str, count: int, *, quiet_seconds: float) -> int:
        """Wait until the listener has filed `count` of a study; how many it has by then.

        It gives up when nothing has come for `quiet_seconds`.
        """
        here, since = self.count_here(study_uid), time.monotonic()
        while here < count and time.monotonic() - since < quiet_seconds:
            self.clock.wait(0.2)
            now_here = self.count_here(study_uid)
            if now_here > here:
                here, since = now_here, time.monotonic()
        return here
