"""How what waits in the journal gets its rows when PostgreSQL is back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pydicom.uid import generate_uid

from deepbrainprint.database.arrivals import record_arrivals
from deepbrainprint.database.connection import Database
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import instance_of
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.part10 import Delivery
from deepbrainprint.intake.reconciliation import empty_journal
from deepbrainprint.intake.spool import Incoming
from deepbrainprint.settings import Settings
from tests.instances import delivery, mr_image, receive
from tests.integration.services import wait_until
from tests.rows import count, rows


@pytest.fixture
def taken(intake_settings: Settings) -> Callable[[int], list[Delivery]]:
    """Takes so many images of one study while PostgreSQL is away."""
    away = Database("postgresql://postgres@/x?host=/nowhere")

    def take(number: int) -> list[Delivery]:
        study_uid = generate_uid()
        sent = [delivery(mr_image(study_uid=study_uid, rows=1)) for _ in range(number)]
        for one in sent:
            receive(intake_settings, away, one)
        return sent

    return take


def emptied(settings: Settings, database: Database) -> int:
    return empty_journal(settings, database, Journal(settings))


def test_many_instances_get_their_rows_in_few_commits(intake_settings, database, taken):
    taken(130)
    assert emptied(intake_settings, database) == 130
    assert rows(database, "select count(*), count(distinct xmin::text) from instance") == [(130, 3)]
    assert Journal(intake_settings).waiting(1) == []


def test_one_that_postgresql_refuses_does_not_hold_up_those_of_its_batch(
    intake_settings, database, taken
):
    taken(5)
    refused = delivery(calling_ae="SCAN\x00NER")
    path = spool.instance_path(refused.sop_instance_uid)
    with Incoming(intake_settings, refused) as incoming:
        incoming.write(refused.data_set)
        incoming.settle(intake_settings.instances_folder / path)
    Journal(intake_settings).note(path, 1)
    assert emptied(intake_settings, database) == 5
    assert count(database, "instance") == 5
    assert Journal(intake_settings).waiting(1) == []


def test_one_that_its_sender_repeats_at_the_same_moment_is_filed_once(
    intake_settings, database, taken
):
    sent = taken(5)
    done: list[int] = []
    emptying = threading.Thread(target=lambda: done.append(emptied(intake_settings, database)))
    with database.transaction() as connection:
        record_arrivals(connection, [recorded(intake_settings, sent[2])])
        emptying.start()
        wait_until(lambda: is_waiting(database))
    emptying.join()
    assert done == [5]
    assert count(database, "instance") == 5
    assert count(database, "study") == 1
    assert Journal(intake_settings).waiting(1) == []


def recorded(settings: Settings, sent: Delivery):
    """What a door would record of a delivery."""
    path = spool.instance_path(sent.sop_instance_uid)
    size_bytes = (settings.instances_folder / path).stat().st_size
    header = read_header(sent.data_set, transfer_syntax_uid=sent.transfer_syntax_uid)
    return instance_of(sent, header, path, size_bytes, sent.sha256), header.identity


def is_waiting(database: Database) -> bool:
    """Whether somebody waits for the lock of somebody else."""
    return rows(database, "select 1 from pg_locks where not granted") != []
