"""One study on its way here: what is missing is fetched, until nothing is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deepbrainprint.database.pulls import Item
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.pull.association import PACS_FAILED
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.source import Listed, Source

FETCHED, ALREADY_HERE = "fetched", "already_here"


class Collection:
    """Attempts at one study; a later one goes on where the one before broke off."""

    def __init__(self, item: Item, source: Source, inbox: Inbox) -> None:
        self.instances = 0  # that came in all attempts
        self._uid = item.study_uid
        self._expected = item.expected
        self._source = source
        self._inbox = inbox
        self._refused: dict[str, str] = {}
        self._whole_failed: TryAgain | None = None

    def attempt(self) -> str:
        """`fetched` or `already_here` when all is here.

        TryAgain when something is missing that may come another time, BadStudy when what is
        missing cannot be filed.
        """
        here = self._inbox.count_here(self._uid)
        if not here:
            self._fetch_whole()
        missing = self._missing()
        if missing:
            self._fetch(missing)
            missing = self._missing()
        self._require_none(missing)
        return FETCHED if self.instances else ALREADY_HERE

    def _fetch_whole(self) -> None:
        """All at once; some PACS give up a study for one object of a class we did not name."""
        try:
            self._fetch([])
        except TryAgain as error:
            if error.code != PACS_FAILED:
                raise
            self._whole_failed = error

    def _fetch(self, wanted: Sequence[Listed]) -> None:
        self._inbox.begin_study()
        try:
            self._source.fetch(self._uid, wanted, self._inbox)
        finally:
            self.instances += self._inbox.received.instances
            self._refused |= self._inbox.received.refused

    def _missing(self) -> list[Listed]:
        """What the PACS lists, we do not have and have not refused; nothing when counts agree."""
        if self._expected and self._inbox.count_here(self._uid) == self._expected:
            return []
        here = self._inbox.here(self._uid)
        return [
            listed
            for listed in self._source.listing(self._uid)
            if listed.sop_instance_uid not in here and listed.sop_instance_uid not in self._refused
        ]

    def _require_none(self, missing: Sequence[Listed]) -> None:
        here = self._inbox.count_here(self._uid)
        if not (here or self._refused) and self._whole_failed is not None:
            raise self._whole_failed
        if missing or not (here or self._refused):
            raise TryAgain(
                f"{here} instances are here, {len(missing) or 'none of those'} that the PACS "
                "lists did not come: look into its log",
                code="incomplete",
            )
        if self._refused:
            reasons = ", ".join(
                f"{n} {code}" for code, n in Counter(self._refused.values()).items()
            )
            raise BadStudy(
                f"{here} instances are here, others cannot be filed and are in quarantine "
                f"({reasons}): correct them at their source",
                code="refused_here",
            )
