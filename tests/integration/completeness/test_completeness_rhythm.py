"""Quiet times learned from what senders did, in a real database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.closing.closer import Closer
from tests.integration.open_studies import states
from tests.rows import rows


def pause_before_last(database: Database, seconds: float) -> None:
    rows(
        database,
        "update instance set received_at = received_at - %s where instance_id not in "
        "(select max(instance_id) from instance group by study_id) "
        "and study_id = (select max(study_id) from study)",
        timedelta(seconds=seconds),
    )


@pytest.fixture
def learn(send, later, closer, database) -> Callable[..., None]:
    """Let so many whole studies of one sender close, each with one pause."""

    def learn(studies: int, pause: float, calling_ae: str = "SCANNER") -> None:
        for _ in range(studies):
            send([1, 2], calling_ae=calling_ae)
            pause_before_last(database, pause)
            later(700)
            closer.close_due()

    return learn


def test_a_sender_that_never_pauses_is_waited_for_less_and_others_as_before(
    send, later, learn, closer, database
):
    learn(20, 0.05)
    send([1, 2])
    send([1, 2], calling_ae="OTHER")
    later(25)
    closer.close_due()
    assert [state for state, *_ in states(database)][-2:] == ["queued", "receiving"]


def test_a_pause_that_closed_a_study_too_early_is_learned_from(
    send, later, learn, closer, database
):
    learn(20, 1.0)
    study = send([1, 2, 3])
    later(300)
    closer.close_due()
    send([4], study=study)  # it was not the end
    later(700)
    closer.close_due()
    [(seen, pauses)] = rows(database, "select studies, pauses from sender_rhythm")
    assert seen == 22
    assert max(0.1 * 2 ** (n / 4) for n, weight in enumerate(pauses) if weight) >= 300
    send([1, 2])
    closer.close_due()
    [(seconds,)] = rows(
        database, "select quiet_seconds from study_revision where state = 'receiving'"
    )
    assert seconds == 600


def test_a_sending_much_later_is_no_pause(send, later, closer, database):
    study = send([1, 2])
    later(86_400)
    closer.close_due()
    send([3], study=study)
    later(700)
    closer.close_due()
    [(seen,)] = rows(database, "select studies from sender_rhythm")
    assert seen == 1


def test_two_closers_at_once_close_each_study_once(settings, send, later, database):
    for _ in range(10):
        send([1, 2])
    later(61)
    closers = [Closer(settings, Database(settings.database_url.get_secret_value())) for _ in "abc"]
    threads = [threading.Thread(target=one.close_due) for one in closers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(database) == [("queued", "quiet", "")] * 10
    assert rows(database, "select studies from sender_rhythm") == [(10,)]
    assert rows(database, "select count(*) from outbox") == [(10,)]
