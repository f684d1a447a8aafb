"""What is deleted when its time is over, and what never is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydicom.uid import generate_uid

from deepbrainprint.database.arrivals import Arrival, instance_paths
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake import filing as filing_module
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.forecast import forecast
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.reconciliation import reconcile
from deepbrainprint.intake.retention import Removed, Retention
from deepbrainprint.intake.spool import instance_path
from deepbrainprint.records import StudyRevision
from deepbrainprint.settings import Settings
from tests.instances import Delivery, delivery, mr_image, receive
from tests.integration.services import environment, wait_until
from tests.rows import count, rows

DAYS = timedelta(days=31)


@pytest.fixture
def settings(intake_settings: Settings) -> Settings:
    return intake_settings.model_copy(update={"retention_days": 30.0})


@pytest.fixture
def retention(settings: Settings, database: Database) -> Retention:
    return Retention(settings, database)


@pytest.fixture
def arrive(settings: Settings, database: Database) -> Callable[..., list[Delivery]]:
    """Let a study of so many instances arrive and be decided as it says."""

    def arrive(instances: int = 3, *, state: str = "decided", study: str = "") -> list[Delivery]:
        study = study or generate_uid()
        sent = [delivery(mr_image(study_uid=study, rows=1)) for _ in range(instances)]
        for one in sent:
            receive(settings, database, one)
        rows(
            database,
            "update study_revision set state = %s, ended_at = now() where state = 'receiving'",
            state,
        )
        return sent

    return arrive


def make_older(database: Database, by: timedelta = DAYS) -> None:
    rows(database, "update study set last_instance_at = last_instance_at - %s", by)
    rows(database, "update study_revision set ended_at = ended_at - %s", by)
    rows(database, "update instance set received_at = received_at - %s", by)
    rows(database, "update quarantine set received_at = received_at - %s", by)


def is_there(settings: Settings, sent: Delivery) -> bool:
    return (settings.instances_folder / instance_path(sent.sop_instance_uid)).exists()


def deleted(database: Database) -> int:
    [(number,)] = rows(database, "select count(*) from instance where deleted_at is not null")
    return number


def test_a_processed_study_past_its_time_is_deleted_and_its_rows_say_so(
    settings, database, arrive, retention
):
    sent = arrive(3)
    make_older(database)
    removed = retention.run()
    assert (removed.instances, removed.size_bytes > 0) == (3, True)
    assert not any(is_there(settings, one) for one in sent)
    assert (count(database, "instance"), deleted(database)) == (3, 3)
    assert rows(database, "select actor, act, subject_kind, details from act") == [
        (
            "retention",
            "deleted_instances",
            "study",
            {"instances": 3, "size_bytes": removed.size_bytes},
        )
    ]
    assert retention.run() == Removed()


def test_nothing_is_deleted_where_nobody_set_a_time(intake_settings, database, arrive):
    arrive()
    make_older(database, timedelta(days=10_000))
    assert Retention(intake_settings, database).run() == Removed()


@pytest.mark.parametrize("state", ["decided", "not_applicable", "rejected"])
def test_what_has_ended_may_go(database, arrive, retention, state):
    arrive(state=state)
    make_older(database)
    assert retention.run().instances == 3


@pytest.mark.parametrize(
    "state",
    ["receiving", "queued", "dispatched", "converted", "stripped", "sliced", "encoded", "failed"],
)
def test_what_is_not_processed_stays(database, arrive, retention, state):
    arrive(state=state)
    make_older(database)
    assert retention.run() == Removed()
    assert retention.due().studies == []


def test_what_is_young_stays(database, arrive, retention):
    arrive()
    make_older(database, timedelta(days=29))
    assert retention.run() == Removed()


def test_a_study_that_waits_for_a_person_stays_until_it_was_decided_long_ago(
    database, arrive, retention
):
    arrive()
    make_older(database)
    rows(
        database,
        "with e as (insert into encoder (version, digest) values ('e', 'd') returning encoder_id), "
        "b as (insert into bundle (encoder_id, preprocessing_version, calibration, "
        "calibration_digest) select encoder_id, '1', '{}', 'x' from e returning bundle_id) "
        "insert into decision (study_id, revision, verdict, reasons, bundle_id, gallery_size, "
        "decided_at) select study_id, 1, 'review', '{}', bundle_id, 0, now() - interval '31 days' "
        "from study, b",
    )
    assert retention.run() == Removed()
    rows(database, "insert into patient default values")
    rows(
        database,
        "insert into decision (study_id, revision, verdict, patient_id, reasons, bundle_id, "
        "gallery_size, decided_by) select study_id, 1, 'linked', 1, '{}', bundle_id, 0, 'person' "
        "from decision",
    )
    assert retention.run() == Removed()  # decided just now


def test_a_study_that_reopened_stays(settings, database, arrive, retention):
    sent = arrive(2)
    make_older(database)
    [(study,)] = rows(database, "select study_uid from study")
    receive(settings, database, delivery(mr_image(study_uid=study, rows=1)))
    assert retention.run() == Removed()
    assert all(is_there(settings, one) for one in sent)


def test_what_waits_in_the_journal_stays(settings, database, arrive, retention):
    sent = arrive(2)
    make_older(database)
    Journal(settings).note(instance_path(sent[0].sop_instance_uid), 1)
    assert retention.run() == Removed()
    assert all(is_there(settings, one) for one in sent)


def test_a_dry_run_tells_and_deletes_nothing(settings, database, arrive, retention):
    sent = arrive(2)
    make_older(database)
    [study] = retention.due().studies
    assert study.instances == 2
    assert all(is_there(settings, one) for one in sent)


def test_many_instances_go_in_batches(database, arrive, retention):
    arrive(120)
    make_older(database)
    assert [retention.step().instances for _ in range(3)] == [100, 20, 0]


def test_a_crash_between_file_and_row_is_made_good_by_the_next_run(
    settings, database, arrive, retention, monkeypatch
):
    sent = arrive(3)
    make_older(database)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deepbrainprint.intake.retention.mark_deleted", die)
        with pytest.raises(KeyboardInterrupt):
            retention.run()
    assert (deleted(database), count(database, "act")) == (0, 0)
    assert Retention(settings, database).run().instances == 3
    assert (deleted(database), count(database, "act")) == (3, 1)
    assert not any(is_there(settings, one) for one in sent)


def test_a_killed_run_is_finished_by_the_next_one(settings, database, arrive, retention):
    sent = arrive(400)
    make_older(database)
    process = subprocess.Popen(
        [sys.executable, "-m", "deepbrainprint.cli", "retention"], env=environment(settings)
    )
    wait_until(lambda: deleted(database) > 0 or process.poll() is not None)
    process.kill()
    process.wait()
    marked = {
        path for (path,) in rows(database, "select path from instance where deleted_at is not null")
    }
    assert not any((settings.instances_folder / path).exists() for path in marked)
    assert marked
    retention.run()
    assert deleted(database) == 400
    assert not any(is_there(settings, one) for one in sent)


def test_an_instance_that_is_sent_again_is_stored_again_and_not_a_new_one(
    settings, database, arrive, retention
):
    sent = arrive(2)
    make_older(database)
    retention.run()
    assert receive(settings, database, sent[0]) is Arrival.REPEAT
    assert is_there(settings, sent[0])
    assert not is_there(settings, sent[1])
    assert deleted(database) == 1
    assert count(database, "study_revision") == 1
    assert retention.run() == Removed()  # its time starts anew


def test_other_bytes_under_a_deleted_uid_are_still_a_conflict(
    settings, database, arrive, retention
):
    sent = arrive(1)
    make_older(database)
    retention.run()
    image = mr_image(rows=2, SOPInstanceUID=sent[0].sop_instance_uid)
    with pytest.raises(BadStudy) as caught:
        receive(settings, database, delivery(image))
    assert caught.value.code == "other_bytes"
    assert not is_there(settings, sent[0])
    assert deleted(database) == 1


def test_an_instance_that_comes_again_while_it_is_deleted_is_there_in_the_end(
    settings, database, arrive, retention, monkeypatch
):
    sent = arrive(1)
    make_older(database)
    look = filing_module.same_object

    def look_and_delete(*arguments: object) -> bool:
        same = look(*arguments)
        assert retention.run().instances == 1
        return same

    monkeypatch.setattr(filing_module, "same_object", look_and_delete)
    assert Filing(settings, database).receive(sent[0], [sent[0].data_set]) is Arrival.REPEAT
    assert is_there(settings, sent[0])
    assert deleted(database) == 0


def test_a_deleted_file_is_neither_missed_nor_converted(settings, database, arrive, retention):
    arrive(2)
    make_older(database)
    retention.run()
    assert reconcile(settings, database).rows_without_file == 0
    [(study_id,)] = rows(database, "select study_id from study")
    with database.transaction() as connection:
        assert instance_paths(connection, StudyRevision(study_id, 1)) == []


def test_quarantine_has_a_time_of_its_own(settings, database, intake_settings):
    broken = delivery(mr_image(StudyInstanceUID=None))
    with pytest.raises(BadStudy):
        receive(settings, database, broken)
    make_older(database)
    assert Retention(settings, database).run() == Removed()
    strict = settings.model_copy(update={"quarantine_days": 30.0})
    assert Retention(strict, database).due().quarantined == 1
    assert Retention(strict, database).run() == Removed(quarantined=1)
    assert not list(settings.quarantine_folder.glob("*.dcm"))
    assert rows(database, "select state, decided_by from quarantine") == [
        ("discarded", "retention")
    ]


def test_two_runs_at_once_delete_each_file_once(settings, database, arrive):
    for _ in range(4):
        arrive(30)
    make_older(database)
    url = settings.database_url.get_secret_value()
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(Retention(settings, Database(url)).run) for _ in "ab"]
        done = [run.result().instances for run in runs]
    done.append(Retention(settings, database).run().instances)
    assert (sum(done), deleted(database)) == (120, 120)


def test_the_forecast_counts_what_came_and_what_was_made_of_it(settings, database, arrive):
    arrive(4)
    made = settings.studies_folder / "1" / "r1"
    made.mkdir(parents=True)
    (made / "brain.bin").write_bytes(bytes(10_000))
    [(received,)] = rows(database, "select sum(size_bytes) from instance")
    found = forecast(settings, database)
    assert found.received_bytes_per_day == pytest.approx(float(received))
    assert found.made_bytes_per_day == pytest.approx(10_000)
    assert found.free_bytes > 0
    make_older(database, timedelta(days=7))
    rows(database, "update study set first_instance_at = first_instance_at - interval '7 days'")
    assert forecast(settings, database).received_bytes_per_day == pytest.approx(
        float(received) / 7, rel=0.01
    )


def test_a_new_service_has_a_forecast_too(settings, database):
    found = forecast(settings, database)
    assert found.days_until_full is None
    assert "nothing has come" in str(found)
