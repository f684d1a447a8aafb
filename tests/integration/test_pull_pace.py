"""When and how fast a PACS is asked, with a clock that only passes while somebody waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from deepbrainprint.database.pulls import PullId
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.pull import session
from deepbrainprint.intake.pull.campaign import Campaign
from deepbrainprint.intake.pull.clock import Clock
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.order import Order, Way, source_of
from deepbrainprint.intake.pull.pace import Pace
from tests.instances import save
from tests.integration.orthanc import needs_orthanc
from tests.integration.pulling import by_accession, order_of, receiver, states, study

pytestmark = needs_orthanc


WORK_SECONDS = 40 * 60


class NightClock(Clock):
    """Starts in the evening; passes only while somebody waits or works."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = self.began = datetime(2024, 1, 1, 21, 30)  # noqa: DTZ001 — local time

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.passed

    @property
    def passed(self) -> float:
        return (self.moment - self.began).total_seconds()

    def wait(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Watched:
    """A source whose every use takes forty minutes and is remembered with its hour."""

    def __init__(self, source: Any, clock: NightClock) -> None:
        self._source, self._clock = source, clock
        self.name = source.name
        self.fetched_at: list[datetime] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def fetch(self, *arguments: Any) -> None:
        self.fetched_at.append(self._clock.now())
        self._clock.wait(WORK_SECONDS)
        self._source.fetch(*arguments)


@pytest.fixture
def run(intake_settings, database):
    """Carries out an order by a clock; where it fetched from."""

    def run_by(clock: NightClock, order: Order, *values: str) -> tuple[PullId, Watched]:
        pull_id = session.open_pull(database, order, by_accession(*values))
        watched = Watched(source_of(order, intake_settings), clock)
        inbox = Inbox(Filing(intake_settings, database), database, Pace(order.rate, clock), clock)
        Campaign(database, pull_id, order, source=watched, inbox=inbox).run()
        return pull_id, watched

    return run_by


@pytest.fixture
def four_studies(orthanc, tmp_path):
    images = [image for n in range(4) for image in study(6, AccessionNumber=f"A{n}")]
    orthanc.upload(save(tmp_path, *images))
    return ["A0", "A1", "A2", "A3"]


def test_studies_are_fetched_in_the_window_only(orthanc, four_studies, run, database):
    pull_id, watched = run(NightClock(), order_of(orthanc, window="22:00-00:00"), *four_studies)
    assert states(database, pull_id) == ["fetched"] * 4
    assert [f"{at:%d %H:%M}" for at in watched.fetched_at] == [
        "01 22:00",
        "01 22:40",
        "01 23:20",
        "02 22:00",
    ]


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_no_more_instances_come_a_second_than_were_allowed(way, orthanc, four_studies, run):
    clock = NightClock()
    _, watched = run(clock, order_of(orthanc, way, rate=2.0), *four_studies[:2])
    working = len(watched.fetched_at) * WORK_SECONDS
    assert clock.passed - working == pytest.approx(11 / 2.0)  # a pause between any two of twelve


def test_a_move_makes_up_for_its_pace_before_the_next_one(
    orthanc, four_studies, run, intake_settings, database
):
    clock = NightClock()
    with receiver(intake_settings, database) as port:
        orthanc.add_modality("us", ae_title=intake_settings.ae_title, port=port)
        _, watched = run(clock, order_of(orthanc, Way.MOVE, rate=0.001), *four_studies[:2])
    first, second = watched.fetched_at
    assert (second - first).total_seconds() == pytest.approx(6 / 0.001 + WORK_SECONDS)


def test_no_more_studies_come_an_hour_than_were_allowed(orthanc, four_studies, run):
    order = order_of(orthanc, studies_per_hour=1.0)
    _, watched = run(NightClock(), order, *four_studies)
    gaps = [
        (later - earlier).total_seconds()
        for earlier, later in zip(watched.fetched_at, watched.fetched_at[1:], strict=False)
    ]
    assert min(gaps) >= 3600
