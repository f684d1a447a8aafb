"""The dispatcher against a real PostgreSQL and an HTTP server that answers as Airflow does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from deepbrainprint.database.arrivals import claim_outbox
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pipeline import set_state
from deepbrainprint.errors import DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.intake.airflow_api import AirflowApi
from deepbrainprint.intake.dispatch import Dispatcher
from deepbrainprint.records import State, StudyRevision
from deepbrainprint.settings import Settings
from tests.instances import delivery, mr_image, receive
from tests.integration.airflow_double import PASSWORD, AirflowDouble
from tests.integration.services import Service, closed_to_all
from tests.rows import rows


@pytest.fixture
def airflow() -> Iterator[AirflowDouble]:
    double = AirflowDouble()
    yield double
    double.stop()


@pytest.fixture
def settings(intake_settings: Settings, airflow: AirflowDouble) -> Settings:
    return intake_settings.model_copy(
        update={
            "airflow_url": airflow.url,
            "airflow_password": SecretStr(PASSWORD),
            "quiet_seconds": 0.01,
            "dispatch_seconds": 0.02,
            "maximum_open_runs": 3,
        }
    )


@pytest.fixture
def dispatcher(settings: Settings, database: Database) -> Dispatcher:
    return Dispatcher(settings, database, AirflowApi(settings))


@pytest.fixture
def arrive(settings: Settings, database: Database) -> Callable[..., None]:
    """Let so many studies of one image arrive, and wait until they are quiet."""

    def arrive(number: int = 1) -> None:
        for _ in range(number):
            receive(settings, database, delivery(mr_image(rows=1)))
        time.sleep(settings.quiet_seconds)

    return arrive


def states(database: Database) -> list[str]:
    return [state for (state,) in rows(database, "select state from study_revision order by 1")]


def trouble_of(work: Callable[[], None]) -> DeepBrainPrintError:
    with pytest.raises(DeepBrainPrintError) as caught:
        work()
    return caught.value


def make_older(database: Database) -> None:
    rows(database, "update outbox set dispatched_at = dispatched_at - interval '1 minute'")


def test_a_quiet_study_becomes_one_run(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.round()
    [(study_id,)] = rows(database, "select study_id from study")
    assert airflow.bodies == [
        {"dag_run_id": f"study-{study_id}-r1", "logical_date": None, "conf": {}}
    ]
    assert states(database) == ["dispatched"]


def test_a_run_that_airflow_has_already_counts_as_handed_over(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.close_quiet()
    [(study_id,)] = rows(database, "select study_id from study")
    airflow.runs[f"study-{study_id}-r1"] = "running"
    dispatcher.send_waiting()
    assert states(database) == ["dispatched"]


def test_no_more_runs_are_open_than_the_cap(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive(5)
    for _ in range(3):
        dispatcher.round()
    assert states(database) == ["dispatched"] * 3 + ["queued"] * 2
    rows(database, "update study_revision set state = 'decided' where state = 'dispatched'")
    dispatcher.round()
    assert len(airflow.runs) == 5


def test_an_expired_token_is_renewed(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.round()
    airflow.tokens.clear()
    arrive()
    dispatcher.round()
    assert states(database) == ["dispatched"] * 2


def test_airflow_away_leaves_the_backlog_and_waits_longer_each_time(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive(2)
    dispatcher.close_quiet()
    airflow.stop()
    error = trouble_of(dispatcher.send_waiting)
    assert (type(error), error.code) == (TryAgain, "airflow_away")
    delays = []
    for _ in range(3):
        [(delay,)] = rows(database, "select max(not_before - now()) from outbox")
        delays.append(delay.total_seconds())
        rows(database, "update outbox set not_before = now()")
        trouble_of(dispatcher.send_waiting)
    assert delays == sorted(delays)
    assert states(database) == ["queued"] * 2
    airflow.start()
    rows(database, "update outbox set not_before = now()")
    dispatcher.round()
    assert states(database) == ["dispatched"] * 2


@pytest.mark.parametrize(
    "trouble",
    [
        ("status", 500, "airflow_away"),
        ("status", 200, "airflow_away"),
        ("dag_is_parsed", False, "dag_missing"),
    ],
)
def test_what_airflow_does_not_take_stays_in_the_outbox(
    arrive: Callable[..., None],
    dispatcher: Dispatcher,
    airflow: AirflowDouble,
    database: Database,
    trouble: tuple[str, object, str],
):
    lever, value, code = trouble
    arrive()
    dispatcher.close_quiet()
    setattr(airflow, lever, value)
    error = trouble_of(dispatcher.send_waiting)
    assert error.code == code
    assert rows(database, "select last_error, attempts from outbox") == [(str(error), 1)]
    assert states(database) == ["queued"]


def test_a_wrong_password_names_the_setting(
    settings: Settings, database: Database, arrive: Callable[..., None]
):
    wrong = settings.model_copy(update={"airflow_password": SecretStr("wrong")})
    dispatcher = Dispatcher(wrong, database, AirflowApi(wrong))
    arrive()
    dispatcher.close_quiet()
    error = trouble_of(dispatcher.send_waiting)
    assert isinstance(error, Misconfigured)
    assert "DBP_AIRFLOW_PASSWORD" in str(error)


def test_one_revision_that_airflow_never_takes_does_not_hold_up_the_others(
    settings: Settings, arrive: Callable[..., None], dispatcher: Dispatcher, database: Database
):
    arrive(4)
    dispatcher.close_quiet()
    rows(
        database,
        "update outbox set attempts = 9, last_error = 'x', not_before = now() + interval '1 hour' "
        "where study_id in (select study_id from outbox order by study_id limit 3)",
    )
    dispatcher.round()
    assert states(database) == ["dispatched"] + ["queued"] * 3


def test_two_dispatchers_hand_each_revision_over_once_and_keep_to_the_cap(
    settings: Settings, arrive: Callable[..., None], airflow: AirflowDouble, database: Database
):
    arrive(12)
    airflow.delay_seconds = 0.01
    stop, most_open = threading.Event(), [0]
    urls = [
        Dispatcher(
            settings, Database(settings.database_url.get_secret_value()), AirflowApi(settings)
        )
        for _ in "ab"
    ]
    threads = [threading.Thread(target=go_round, args=(one, stop)) for one in urls]
    for thread in threads:
        thread.start()
    while len(airflow.runs) < 12:
        open_now = rows(database, "select count(*) from study_revision where state = 'dispatched'")
        most_open[0] = max(most_open[0], open_now[0][0])
        rows(database, "update study_revision set state = 'decided' where state = 'dispatched'")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(airflow.posts.values()) == {1}
    assert 0 < most_open[0] <= settings.maximum_open_runs


def go_round(dispatcher: Dispatcher, stop: threading.Event) -> None:
    while not stop.is_set():
        dispatcher.round()


def test_a_dispatcher_that_died_after_handing_over_is_made_good(
    settings: Settings,
    arrive: Callable[..., None],
    dispatcher: Dispatcher,
    airflow: AirflowDouble,
    database: Database,
):
    arrive()
    dispatcher.close_quiet()
    with database.transaction() as connection:
        [run] = claim_outbox(connection, maximum_open_runs=3, lease_seconds=60)
    AirflowApi(settings).start_run(run)
    dispatcher.send_waiting()
    assert states(database) == ["queued"]
    rows(database, "update outbox set not_before = now()")  # the lease ends
    dispatcher.send_waiting()
    assert states(database) == ["dispatched"]
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("ended", ["failed", "success"])
def test_a_run_that_ended_without_a_result_is_recorded_as_failed(
    arrive: Callable[..., None],
    dispatcher: Dispatcher,
    airflow: AirflowDouble,
    database: Database,
    ended: str,
):
    arrive()
    dispatcher.round()
    airflow.runs = dict.fromkeys(airflow.runs, ended)
    dispatcher.inspect_open()
    assert states(database) == ["dispatched"]
    make_older(database)
    dispatcher.inspect_open()
    [(state, code, reason)] = rows(
        database, "select state, reason_code, reason from study_revision"
    )
    assert (state, code) == ("failed", "run_failed")
    assert ended in reason


def test_a_run_that_is_still_going_is_left_alone(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.round()
    airflow.runs = dict.fromkeys(airflow.runs, "running")
    make_older(database)
    dispatcher.inspect_open()
    assert states(database) == ["dispatched"]


def test_a_decided_revision_is_not_failed_by_a_late_look(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.round()
    run = StudyRevision(*rows(database, "select study_id, revision from study_revision")[0])
    with database.transaction() as connection:
        set_state(connection, run, State.DECIDED)
    dispatcher._settle(run, "success")
    assert states(database) == ["decided"]


def test_a_run_that_airflow_lost_is_handed_over_again(
    arrive: Callable[..., None], dispatcher: Dispatcher, airflow: AirflowDouble, database: Database
):
    arrive()
    dispatcher.round()
    airflow.runs.clear()
    make_older(database)
    dispatcher.inspect_open()
    assert states(database) == ["queued"]
    dispatcher.round()
    assert states(database) == ["dispatched"]
    assert set(airflow.posts.values()) == {2}


def test_a_superseded_revision_is_not_handed_over(
    settings: Settings, database: Database, dispatcher: Dispatcher, airflow: AirflowDouble
):
    image = mr_image(rows=1)
    receive(settings, database, delivery(image))
    time.sleep(settings.quiet_seconds)
    dispatcher.close_quiet()
    receive(settings, database, delivery(mr_image(study_uid=image.StudyInstanceUID, rows=1)))
    time.sleep(settings.quiet_seconds)
    dispatcher.round()
    assert [run.endswith("-r2") for run in airflow.runs] == [True]


def test_old_files_are_deleted_between_the_rounds(
    settings: Settings, arrive: Callable[..., None], airflow: AirflowDouble, database: Database
):
    keeping = settings.model_copy(update={"retention_days": 30.0})
    dispatcher = Dispatcher(keeping, database, AirflowApi(keeping))
    arrive()
    dispatcher.round()
    rows(
        database,
        "update study_revision set state = 'decided', ended_at = now() - interval '31 days'",
    )
    rows(database, "update study set last_instance_at = now() - interval '31 days'")
    rows(database, "update instance set received_at = now() - interval '31 days'")
    dispatcher.round()  # the last look was a moment ago
    assert rows(database, "select deleted_at is null from instance") == [(True,)]
    Dispatcher(keeping, database, AirflowApi(keeping)).round()
    assert rows(database, "select deleted_at is null from instance") == [(False,)]


def test_the_service_waits_out_airflow_and_logs_each_change_once(
    settings: Settings, arrive: Callable[..., None], airflow: AirflowDouble, tmp_path: Path
):
    airflow.status = 503
    service = Service("dispatch", "dispatch", settings, tmp_path / "log")
    arrive()
    service.wait_for("waiting")
    time.sleep(0.3)
    airflow.status = None
    service.wait_for("run_dispatched")
    assert service.stop() == 0
    assert [event["event"] for event in service.events()] == [
        "dispatching",
        "study_closed",
        "waiting",
        "run_dispatched",
        "working_again",
        "stopped",
    ]


def test_the_service_waits_out_postgresql(
    settings: Settings,
    database: Database,
    arrive: Callable[..., None],
    postgres_url: str,
    tmp_path: Path,
):
    service = Service("dispatch", "dispatch", settings, tmp_path / "log")
    service.wait_for("dispatching")
    with closed_to_all(postgres_url, database):
        assert service.wait_for("waiting")["code"] == "database_away"
    service.wait_for("working_again")
    arrive()
    service.wait_for("run_dispatched")
    assert service.stop() == 0
    assert len(service.events("waiting")) == 1
