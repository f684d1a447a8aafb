"""How long the journal says yes, and what it costs to know how much is in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deepbrainprint.errors import TryAgain
from deepbrainprint.intake import journal as module
from deepbrainprint.intake import spool
from deepbrainprint.intake.journal import Journal
from deepbrainprint.settings import Settings

SIZE_BYTES = 1000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path, minimum_free_bytes=0, journal_bytes=10 * SIZE_BYTES)
    spool.prepare(settings)
    return settings


@pytest.fixture
def note(settings: Settings) -> Callable[[Journal], None]:
    """Put an object into a journal."""

    def note(journal: Journal) -> None:
        path = spool.instance_path(uuid4().hex)
        (settings.instances_folder / path).write_bytes(bytes(SIZE_BYTES))
        journal.note(path, SIZE_BYTES)

    return note


class Looks:
    """The looks at a journal's folder: how many there were, and how long each takes."""

    def __init__(self, journal: Journal, seconds: float) -> None:
        self.count = 0
        self.seconds = seconds
        self._entries = journal._entries
        journal._entries = self._counted

    def _counted(self) -> Iterator[object]:
        self.count += 1
        found = list(self._entries())
        time.sleep(self.seconds)
        return iter(found)


def is_full(journal: Journal) -> bool:
    try:
        journal.require_room()
    except TryAgain as error:
        return error.code == "database_away"
    return False


def test_the_longer_a_look_takes_the_seldomer_it_is_repeated(settings: Settings):
    journal = Journal(settings)
    looks, began = Looks(journal, seconds=0.1), time.monotonic()
    while time.monotonic() - began < 1.4:
        journal.require_room()
    assert looks.count == 1  # the next one is due after two seconds


def test_what_is_added_between_two_looks_is_counted(settings: Settings, note):
    journal = Journal(settings)
    looks = Looks(journal, seconds=0.2)
    room = [not is_full(journal) for _ in range(11) if note(journal) is None]
    assert room == [True] * 9 + [False] * 2
    assert looks.count == 1


def test_what_is_added_during_a_look_is_counted(settings: Settings, note):
    journal = Journal(settings)
    looks = Looks(journal, seconds=0.3)
    looking = threading.Thread(target=is_full, args=[journal])
    looking.start()
    while not looks.count:
        time.sleep(0.001)
    time.sleep(0.05)
    for _ in range(10):
        note(journal)
    looking.join()
    assert is_full(journal)
    assert looks.count == 1


def test_nobody_waits_for_another_threads_look(settings: Settings, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0.01)
    journal = Journal(settings)
    journal.require_room()
    looks = Looks(journal, seconds=0.5)
    time.sleep(0.02)
    looking = threading.Thread(target=is_full, args=[journal])
    looking.start()
    while not looks.count:
        time.sleep(0.001)
    began = time.monotonic()
    journal.require_room()
    assert time.monotonic() - began < 0.3
    looking.join()
    assert looks.count == 1


def test_other_processes_are_taken_to_go_on_as_they_did_between_two_looks(
    settings: Settings, note, monkeypatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0.01)
    ours, theirs = Journal(settings), Journal(settings)
    Looks(ours, seconds=0.1)  # one in two seconds
    ours.require_room()
    ours._look = module._Look(0, 0, None, 0.0, at=time.monotonic() - 0.5)
    for _ in range(8):
        note(theirs)
    assert not is_full(ours)  # 8 of 10 in 0.6 s
    began = time.monotonic()
    while not is_full(ours):
        assert time.monotonic() - began < 1.0
    assert ours.depth().instances == 8


def test_a_name_grows_older_between_two_looks(settings: Settings, note):
    journal = Journal(settings.model_copy(update={"journal_minutes": 0.4 / 60}))
    Looks(journal, seconds=0.1)
    note(journal)
    assert not is_full(journal)
    time.sleep(0.5)
    assert is_full(journal)
