"""One pull from its list to its end. All that it knows is in the database, so that it can go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from deepbrainprint.database import pulls
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pulls import AskRow, Item, PullId
from deepbrainprint.errors import BadStudy, DeepBrainPrintError, TryAgain
from deepbrainprint.intake.pull.asks import Ask, Kind
from deepbrainprint.intake.pull.clock import STOPPED, Clock
from deepbrainprint.intake.pull.collection import FETCHED, Collection
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.order import Order
from deepbrainprint.intake.pull.pace import Pace
from deepbrainprint.intake.pull.source import Source, matching

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Other lines or studies would meet the same: the pull as a whole stops.
_FOR_ALL = frozenset(
    {
        STOPPED,
        "pacs_away",
        "pacs_refused",
        "disk_full",
        "storage_failed",
        "database_away",
        "database_busy",
    }
)


@dataclass(frozen=True)
class Progress:
    """How far a pull is."""

    doing: str = ""
    asks: int = 0
    asks_left: int = 0
    studies: int = 0
    studies_left: int = 0
    instances: int = 0  # new ones


class Campaign:
    """Asks for each line, then fetches each study, settling one after the other."""

    def __init__(  # noqa: PLR0913 — its parts, each of which a test may replace
        self,
        database: Database,
        pull_id: PullId,
        order: Order,
        *,
        source: Source,
        inbox: Inbox,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._pull_id = pull_id
        self._order = order
        self._source = source
        self._inbox = inbox
        self._clock: Clock = inbox.clock
        self._window = order.opening_hours()
        self._studies_pace = Pace((order.studies_per_hour or 0.0) / 3600.0, self._clock)
        self._tell = report
        self._progress = Progress()
        inbox.on_arrival = lambda: self._show("fetching")

    def run(self) -> None:
        """Settle all that waits. TryAgain when the pull must stop and can be resumed."""
        try:
            self._ask_all()
            self._fetch_all()
        finally:
            self._source.close()

    def _ask_all(self) -> None:
        with self._database.transaction() as connection:
            asks = pulls.waiting_asks(connection, self._pull_id)
        self._show("asking", asks=len(asks), asks_left=len(asks))
        for number, row in enumerate(asks, start=1):
            self._ask(row)
            self._show("asking", asks_left=len(asks) - number)

    def _ask(self, row: AskRow) -> None:
        ask = Ask(Kind(row.kind), row.value, row.place)
        try:
            answers = self._patiently(lambda: self._source.find(ask, self._order.modalities))
        except TryAgain as error:
            self._require_single(error)
            self._settle_ask(row, state="failed", code=error.code, reason=str(error))
            return
        found = matching(answers, ask, self._order.modalities)
        if found:
            with self._database.transaction() as connection:
                studies = [(study.study_uid, study.expected) for study in found]
                pulls.answer_ask(connection, self._pull_id, row.position, studies)
            return
        code, reason = _why_not_there(ask, self._order.modalities, others=bool(answers))
        self._settle_ask(row, state="not_there", code=code, reason=reason)

    def _settle_ask(self, row: AskRow, *, state: str, code: str, reason: str) -> None:
        with self._database.transaction() as connection:
            pulls.settle_ask(
                connection, self._pull_id, row.position, state=state, code=code, reason=reason
            )
        log.info("ask_settled", pull=self._pull_id, place=row.place, state=state, code=code)

    def _fetch_all(self) -> None:
        with self._database.transaction() as connection:
            items = pulls.waiting_studies(connection, self._pull_id)
        self._show("fetching", studies=len(items), studies_left=len(items))
        for number, item in enumerate(items, start=1):
            self._fetch(item)
            self._show("fetching", studies_left=len(items) - number)

    def _fetch(self, item: Item) -> None:
        collection = Collection(item, self._source, self._inbox)
        code = reason = ""
        try:
            state = self._patiently(lambda: self._attempt(item, collection))
        except (TryAgain, BadStudy) as error:
            self._require_single(error)
            state, code, reason = "failed", error.code, str(error)
        with self._database.transaction() as connection:
            pulls.settle_study(connection, item.item_id, state=state, code=code, reason=reason)
        log.info(
            "study_settled",
            pull=self._pull_id,
            item=item.item_id,
            state=state,
            instances=collection.instances,
            **({"code": code} if code else {}),
        )

    def _attempt(self, item: Item, collection: Collection) -> str:
        self._studies_pace.wait()
        self._inbox.pace.wait()
        self._show("fetching")
        with self._database.statement() as connection:
            pulls.count_attempt(connection, item.item_id)
        state = collection.attempt()
        if state == FETCHED:
            self._studies_pace.count()
        return state

    def _patiently(self, act: Callable[[], T]) -> T:
        """Try so often as was ordered, within the window, with pauses that grow."""
        for attempt in range(1, self._order.attempts + 1):
            self._wait_for_window()
            try:
                return act()
            except TryAgain as error:
                if error.code == STOPPED or attempt == self._order.attempts:
                    raise
                self._pause(attempt, error)
        raise AssertionError  # an order has at least one attempt

    def _pause(self, attempt: int, error: TryAgain) -> None:
        seconds = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        log.warning("pull_waits", code=error.code, reason=str(error), seconds=seconds)
        self._show(f"trying again in {seconds:.0f} s")
        self._clock.wait(seconds)

    def _wait_for_window(self) -> None:
        self._clock.require_going()
        if self._window is not None and not self._window.is_open(self._clock.now()):
            log.info("outside_window", pull=self._pull_id, window=str(self._window))
            self._show(f"waiting for {self._window.begin:%H:%M}")
            self._source.close()
            self._window.wait(self._clock)

    def _require_single(self, error: DeepBrainPrintError) -> None:
        """Raise again what stops the pull as a whole."""
        if error.code in _FOR_ALL:
            raise error

    def _show(self, doing: str, **counts: int) -> None:
        changed = {"doing": doing, "instances": self._inbox.instances, **counts}
        self._progress = replace(self._progress, **changed)  # type: ignore[arg-type]
        self._tell(self._progress)


def _why_not_there(ask: Ask, modalities: Sequence[str], *, others: bool) -> tuple[str, str]:
    """Reason code, and the same in words, of an ask that matched nothing."""
    if others and ask.kind in {Kind.ACCESSION, Kind.STUDY}:
        return "others_answered", "the PACS answered with other studies, which are not fetched"
    if ask.kind in {Kind.ACCESSION, Kind.STUDY} or not modalities:
        return "not_there", "the PACS has no such study"
    return "not_there", f"the PACS has no such study of modality {' or '.join(modalities)}"
