"""Storage commitment between our handlers and real requesters: pynetdicom's, and Orthanc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import evt
from structlog.testing import capture_logs

from deepbrainprint.database.commitments import (
    CommitmentState,
    commitment_counts,
    commitment_reports,
    set_commitment_address,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.intake.commitment.desk import CommitmentDesk
from deepbrainprint.intake.commitment.report import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    CommitmentReporter,
)
from deepbrainprint.intake.spool import instance_path
from deepbrainprint.settings import Settings
from tests.instances import NAME, PATIENT_ID, delivery, mr_image, receive
from tests.integration.orthanc import needs_orthanc, running_orthanc
from tests.integration.requesters import (
    SAME_PLACE,
    Requester,
    ask,
    associate,
    failures,
    offer_call_soon,
    open_door,
    uids,
    wanted,
)
from tests.integration.services import closed_to_all, environment, free_port, wait_until
from tests.rows import count, rows


@pytest.fixture
def settings(intake_settings: Settings) -> Settings:
    return intake_settings.model_copy(update={"commitment_retry_seconds": 0.2})


@pytest.fixture
def requester(database: Database) -> Iterator[Requester]:
    requester = Requester(free_port())
    requester.start()
    with database.transaction() as connection:
        set_commitment_address(
            connection, "SCANNER", host=SAME_PLACE, port=requester.port, set_by="test"
        )
    yield requester
    requester.stop()


@pytest.fixture
def reporter(settings: Settings, database: Database) -> Iterator[CommitmentReporter]:
    reporter = CommitmentReporter(settings, database)
    reporter.start()
    yield reporter
    reporter.stop()


@pytest.fixture
def door(database: Database, reporter: CommitmentReporter) -> Iterator[int]:
    """Port of a listener whose associations cannot report themselves."""
    with open_door(CommitmentDesk(database, reporter)) as port:
        yield port


@pytest.fixture
def patient_door(database: Database, reporter: CommitmentReporter) -> Iterator[int]:
    """Port of a listener whose associations offer `call_soon`, as ours do."""
    with open_door(CommitmentDesk(database, reporter), opened=offer_call_soon) as port:
        yield port


def filed(settings: Settings, database: Database, number: int = 1) -> list[Dataset]:
    images = [mr_image() for _ in range(number)]
    for image in images:
        receive(settings, database, delivery(image))
    return images


def states(database: Database) -> list[str]:
    return [state for (state,) in rows(database, "select state from commitment order by 1")]


def test_what_is_filed_is_committed_by_a_report_on_a_new_association(
    settings: Settings, database: Database, door: int, requester: Requester
):
    images = filed(settings, database, 3)
    asked = wanted(*images)
    assert ask(door, asked).Status == 0x0000
    kind, report = requester.report()
    assert (kind, report.TransactionUID) == (1, asked.TransactionUID)
    assert uids(report.ReferencedSOPSequence) == [image.SOPInstanceUID for image in images]
    assert "FailedSOPSequence" not in report
    assert requester.proposed == [(False, True)]  # PS3.4 J.3.3: we stay the SCP
    wait_until(lambda: states(database) == ["reported"])
    assert states(database) == ["reported"]


def test_each_failure_has_the_standards_reason(
    settings: Settings, database: Database, door: int, requester: Requester
):
    good, other_class, missing = filed(settings, database, 3)
    other_class.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    (settings.instances_folder / instance_path(missing.SOPInstanceUID)).unlink()
    stranger = mr_image()
    assert ask(door, wanted(good, other_class, missing, stranger)).Status == 0x0000
    kind, report = requester.report()
    assert kind == 2
    assert uids(report.ReferencedSOPSequence) == [good.SOPInstanceUID]
    assert failures(report) == {
        other_class.SOPInstanceUID: 0x0119,
        missing.SOPInstanceUID: 0x0112,
        stranger.SOPInstanceUID: 0x0112,
    }


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty"])
def test_a_file_that_has_changed_on_disk_is_not_committed_and_is_spoken_of(
    settings: Settings, database: Database, requester: Requester, damage: str
):
    good, bad = filed(settings, database, 2)
    path = settings.instances_folder / instance_path(bad.SOPInstanceUID)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    content = {"one bit": content, "cut short": content[:-7], "empty": b""}[damage]
    path.write_bytes(content)
    reporter = CommitmentReporter(settings, database)
    with open_door(CommitmentDesk(database, reporter)) as port, capture_logs() as log:
        ask(port, wanted(good, bad))
        assert reporter.report_next()
    kind, report = requester.report()
    assert (kind, failures(report)) == (2, {bad.SOPInstanceUID: 0x0110})
    [said] = [line for line in log if line["event"] == "stored_object_damaged"]
    assert (said["log_level"], said["found"]) == ("error", "file_changed")
    assert not any(secret in str(log) for secret in [*NAME.split("^"), PATIENT_ID])
    with database.transaction() as connection:
        assert commitment_counts(connection).damaged == 1


def test_a_requester_that_waits_gets_its_report_on_its_own_association(
    settings: Settings, database: Database, patient_door: int
):
    taken = Requester(port=0)  # listens nowhere
    asked = wanted(*filed(settings, database))
    association = associate(patient_door, handlers=[(evt.EVT_N_EVENT_REPORT, taken.take)])
    status, _ = association.send_n_action(asked, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    assert status.Status == 0x0000
    kind, report = taken.report()
    assert (kind, report.TransactionUID) == (1, asked.TransactionUID)
    association.release()
    wait_until(lambda: states(database) == ["reported"])
    assert states(database) == ["reported"]


def test_several_requests_on_one_association_are_all_reported_there(
    settings: Settings, database: Database, patient_door: int
):
    taken = Requester(port=0)
    asked = [wanted(image) for image in filed(settings, database, 3)]
    association = associate(patient_door, handlers=[(evt.EVT_N_EVENT_REPORT, taken.take)])
    for one in asked:
        association.send_n_action(one, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    found = {taken.report()[1].TransactionUID for _ in asked}
    assert found == {one.TransactionUID for one in asked}
    association.release()


def test_a_requester_that_releases_at_once_gets_its_report_on_its_own_port(
    settings: Settings, database: Database, patient_door: int, requester: Requester
):
    asked = wanted(*filed(settings, database))
    assert ask(patient_door, asked).Status == 0x0000
    assert requester.report()[1].TransactionUID == asked.TransactionUID
    wait_until(lambda: states(database) == ["reported"])
    assert states(database) == ["reported"]


@pytest.mark.parametrize("roles", [{}, {"scu_role": True, "scp_role": True}])
def test_requesters_that_do_not_care_for_roles_are_reported_to(
    settings: Settings, database: Database, door: int, requester: Requester, roles: dict[str, bool]
):
    requester.stop()
    requester.roles = roles
    requester.start()
    ask(door, wanted(*filed(settings, database)))
    assert requester.report()[0] == 1


def test_a_requester_that_is_away_is_asked_again_until_it_is_back(
    settings: Settings, database: Database, door: int, requester: Requester
):
    requester.stop()
    ask(door, wanted(*filed(settings, database)))
    wait_until(lambda: rows(database, "select attempts from commitment")[0][0] >= 2)
    with database.transaction() as connection:
        [waiting] = commitment_reports(connection, state=CommitmentState.WAITING)
    assert f"SCANNER at 127.0.0.1:{requester.port} does not answer" in waiting.last_error
    requester.start()
    assert requester.report()[0] == 1


def test_a_requester_that_refuses_the_report_is_asked_again_and_then_given_up(
    settings: Settings, database: Database, requester: Requester
):
    requester.status = 0x0110
    reporter = CommitmentReporter(settings.model_copy(update={"commitment_hours": 1e-9}), database)
    with open_door(CommitmentDesk(database, reporter)) as port, capture_logs() as log:
        ask(port, wanted(*filed(settings, database)))
        assert reporter.report_next()
        assert not reporter.report_next()
    [(state, error)] = rows(database, "select state, last_error from commitment")
    assert state == "given_up"
    assert "answered the report with status 0x0110" in error
    assert log[-1]["event"] == "commitment_given_up"


def test_a_new_address_is_tried_at_once(
    settings: Settings, database: Database, door: int, requester: Requester
):
    elsewhere = Requester(free_port())
    requester.stop()
    ask(door, wanted(*filed(settings, database)))
    wait_until(lambda: rows(database, "select last_error from commitment") != [("",)])
    rows(database, "update commitment set not_before = now() + interval '1 hour'")
    elsewhere.start()
    with database.transaction() as connection:
        set_commitment_address(
            connection, "SCANNER", host=SAME_PLACE, port=elsewhere.port, set_by="test"
        )
    assert elsewhere.report()[0] == 1
    elsewhere.stop()


def test_the_same_request_again_is_reported_again(
    settings: Settings, database: Database, door: int, requester: Requester
):
    asked = wanted(*filed(settings, database))
    for _ in range(2):
        assert ask(door, asked).Status == 0x0000
        assert requester.report()[1].TransactionUID == asked.TransactionUID
        wait_until(lambda: states(database) == ["reported"])
    assert count(database, "commitment") == 1


def test_a_transaction_uid_that_stands_for_other_instances_is_refused_in_the_report(
    settings: Settings, database: Database, door: int, requester: Requester
):
    first, second = filed(settings, database, 2)
    asked = wanted(first)
    ask(door, asked)
    assert requester.report()[0] == 1
    ask(door, wanted(second, transaction_uid=asked.TransactionUID))
    kind, report = requester.report()
    assert (kind, failures(report)) == (2, {second.SOPInstanceUID: 0x0131})


def test_while_postgresql_is_away_a_request_is_refused_for_now(
    settings: Settings, database: Database, door: int, requester: Requester, postgres_url: str
):
    asked = wanted(*filed(settings, database))
    with closed_to_all(postgres_url, database):
        assert ask(door, asked).Status == 0x0213
    assert count(database, "commitment") == 0
    assert ask(door, asked).Status == 0x0000
    assert requester.report()[0] == 1


def test_an_instance_that_waits_in_the_journal_is_waited_for(
    settings: Settings, database: Database, door: int, requester: Requester
):
    [image] = filed(settings, database)
    [(row,)] = rows(database, "select to_jsonb(i) from instance i")
    rows(database, "delete from instance")
    name = instance_path(image.SOPInstanceUID).stem
    (settings.journal_folder / name).touch()
    ask(door, wanted(image))
    wait_until(lambda: rows(database, "select last_error from commitment") != [("",)])
    assert requester.reports.empty()
    rows(
        database,
        "insert into instance overriding system value"
        " select * from jsonb_populate_record(null::instance, %s)",
        json.dumps(row),
    )
    (settings.journal_folder / name).unlink()
    assert requester.report()[0] == 1


def test_several_processes_report_each_request_once(
    settings: Settings, database: Database, requester: Requester
):
    several = [CommitmentReporter(settings, database) for _ in range(3)]
    with open_door(CommitmentDesk(database, several[0])) as port:
        association = associate(port)
        for image in filed(settings, database, 8):
            association.send_n_action(wanted(image), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        association.release()
    for reporter in several:
        reporter.start()
    found = [requester.report()[1].TransactionUID for _ in range(8)]
    wait_until(lambda: states(database) == ["reported"] * 8)
    for reporter in several:
        reporter.stop()
    assert len(set(found)) == 8
    assert requester.reports.empty()


_REPORT = """
import time
from deepbrainprint.database.connection import Database
from deepbrainprint.intake.commitment.report import CommitmentReporter
from deepbrainprint.settings import load_settings
settings = load_settings()
database = Database(settings.database_url.get_secret_value())
CommitmentReporter(settings, database, lease_seconds=1.5).start()
time.sleep(60)
"""


def test_a_report_that_a_kill_cut_off_is_made_by_the_next_process(
    settings: Settings, database: Database, requester: Requester
):
    asked = wanted(*filed(settings, database))
    with open_door(CommitmentDesk(database, CommitmentReporter(settings, database))) as port:
        ask(port, asked)
    doomed = subprocess.Popen([sys.executable, "-c", _REPORT], env=environment(settings))

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(doomed.pid, signal.SIGKILL)
        doomed.wait()
        requester.before_answer = lambda: None

    requester.before_answer = kill
    requester.report()  # the process died before it saw our answer
    assert states(database) == ["waiting"]
    reporter = CommitmentReporter(settings, database)
    reporter.start()
    kind, report = requester.report()
    assert (kind, report.TransactionUID) == (1, asked.TransactionUID)
    wait_until(lambda: states(database) == ["reported"])
    assert states(database) == ["reported"]
    reporter.stop()


@needs_orthanc
@pytest.mark.parametrize("patient", [False, True], ids=["new association", "may be the same"])
def test_orthanc_is_told_what_we_answer_for(
    settings: Settings, database: Database, reporter: CommitmentReporter, patient: bool
):
    good, stranger = *filed(settings, database), mr_image()
    desk = CommitmentDesk(database, reporter)
    opened = offer_call_soon if patient else (lambda _: None)
    with (
        open_door(desk, opened) as port,
        running_orthanc(modalities={"us": ("DEEPBRAINPRINT", port)}) as orthanc,
    ):
        with database.transaction() as connection:
            set_commitment_address(
                connection, "ORTHANC", host=SAME_PLACE, port=orthanc.dicom_port, set_by="test"
            )
        assert commitment_by(orthanc, good)["Status"] == "Success"
        refused = commitment_by(orthanc, stranger)
        assert refused["Status"] == "Failure"
        assert [item["SOPInstanceUID"] for item in refused["Failures"]] == [stranger.SOPInstanceUID]


def commitment_by(orthanc: Any, image: Dataset) -> dict[str, Any]:
    body = {"DicomInstances": [[image.SOPClassUID, image.SOPInstanceUID]]}
    asked = orthanc.post("/modalities/us/storage-commitment", json.dumps(body).encode())
    wait_until(lambda: orthanc.get(asked["Path"])["Status"] != "Pending")
    return dict(orthanc.get(asked["Path"]))
