"""Performed procedure steps between our handlers and pynetdicom as the scanner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from structlog.testing import capture_logs

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.procedure_steps import PROCEDURE_STEP, ProcedureSteps
from tests.instances import NAME, PATIENT_ID
from tests.integration.services import closed_to_all, free_port
from tests.rows import count, rows

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # bad UIDs are the point


@pytest.fixture
def scanner(database: Database) -> Iterator[Any]:
    """An open association of a scanner."""
    steps = ProcedureSteps(database)
    ae = AE("DEEPBRAINPRINT")
    ae.add_supported_context(PROCEDURE_STEP)
    port = free_port()
    handlers = [(evt.EVT_N_CREATE, steps.create), (evt.EVT_N_SET, steps.set)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    association = AE("MR1").associate("127.0.0.1", port, contexts=[build_context(PROCEDURE_STEP)])
    assert association.is_established
    yield association
    association.release()
    server.shutdown()


def started(study_uid: str | None = "", **changes: object) -> Dataset:
    """What a scanner says when it begins; keyword arguments change it, None takes away."""
    scheduled = Dataset()
    if study_uid is not None:
        scheduled.StudyInstanceUID = study_uid or generate_uid()
    step = Dataset()
    values: dict[str, object] = {
        "ScheduledStepAttributesSequence": [scheduled],
        "PatientName": NAME,
        "PatientID": PATIENT_ID,
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "MR1",
        "PerformedProcedureStepStartDate": "20261121",
        "PerformedProcedureStepStartTime": "120000",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "MR",
        "PerformedSeriesSequence": [],
    } | changes
    for name, value in values.items():
        if value is not None:
            setattr(step, name, value)
    return step


def ended(status: str, *series: tuple[str, list[str]]) -> Dataset:
    """What a scanner says at the end: series UIDs, and of each the instances."""
    step = Dataset()
    step.PerformedProcedureStepStatus = status
    step.PerformedSeriesSequence = [_series(uid, instances) for uid, instances in series]
    return step


def _series(uid: str, instances: list[str]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.SeriesDescription = NAME
    images = [_reference(instance) for instance in instances]
    series.ReferencedImageSequence = images[:-1]
    series.ReferencedNonImageCompositeSOPInstanceSequence = images[-1:]
    return series


def _reference(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    reference.ReferencedSOPInstanceUID = uid
    return reference


def create(scanner: Any, step: Dataset | None, uid: str | None = "") -> tuple[Dataset, Any]:
    uid = generate_uid() if uid == "" else uid
    return scanner.send_n_create(step, PROCEDURE_STEP, uid)


def change(scanner: Any, uid: str, step: Dataset) -> Dataset:
    status, _ = scanner.send_n_set(step, PROCEDURE_STEP, uid)
    return status


def steps(database: Database) -> list[tuple[Any, ...]]:
    return rows(
        database, "select procedure_step_uid, study_uid, calling_ae, state from procedure_step"
    )


def instances(database: Database) -> set[tuple[Any, ...]]:
    return set(rows(database, "select series_uid, sop_instance_uid from procedure_step_instance"))


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_a_step_begins_and_ends_with_what_it_made(scanner: Any, database: Database, end: str):
    uid, study_uid = generate_uid(), generate_uid()
    assert create(scanner, started(study_uid), uid)[0].Status == 0x0000
    assert steps(database) == [(uid, study_uid, "MR1", "in progress")]
    assert (
        change(scanner, uid, ended(end, ("1.1", ["1.1.1", "1.1.2"]), ("1.2", ["1.2.1"]))).Status
        == 0
    )
    assert steps(database) == [(uid, study_uid, "MR1", end.lower())]
    assert instances(database) == {("1.1", "1.1.1"), ("1.1", "1.1.2"), ("1.2", "1.2.1")}
    [(is_ended,)] = rows(database, "select ended_at is not null from procedure_step")
    assert is_ended


def test_what_a_step_says_last_of_its_series_counts(scanner: Any, database: Database):
    uid = generate_uid()
    create(scanner, started(), uid)
    change(scanner, uid, ended("IN PROGRESS", ("1.1", ["1.1.1", "1.1.2"])))
    change(scanner, uid, ended("IN PROGRESS", ("1.1", ["1.1.2", "1.1.3", "no UID"])))
    nothing_of_series = Dataset()
    nothing_of_series.PerformedProcedureStepStatus = "COMPLETED"
    assert change(scanner, uid, nothing_of_series).Status == 0x0000
    assert instances(database) == {("1.1", "1.1.2"), ("1.1", "1.1.3")}


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_a_step_that_has_ended_is_not_changed_any_more(scanner: Any, database: Database, end: str):
    uid = generate_uid()
    create(scanner, started(), uid)
    change(scanner, uid, ended(end, ("1.1", ["1.1.1"])))
    for again in ("IN PROGRESS", "COMPLETED", "DISCONTINUED"):
        answer = change(scanner, uid, ended(again, ("1.1", ["9.9.9"])))
        assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
        assert answer.ErrorComment == "Performed Procedure Step Object may no longer be updated"
    assert steps(database)[0][3] == end.lower()
    assert instances(database) == {("1.1", "1.1.1")}


def test_a_step_is_created_once(scanner: Any, database: Database):
    uid = generate_uid()
    assert create(scanner, started("1.2.3"), uid)[0].Status == 0x0000
    assert create(scanner, started("4.5.6"), uid)[0].Status == 0x0111
    assert [study_uid for _, study_uid, _, _ in steps(database)] == ["1.2.3"]


def test_a_step_without_a_uid_gets_one(scanner: Any, database: Database):
    status, _ = create(scanner, started(), None)
    assert status.Status == 0x0000
    [(uid, *_)] = steps(database)
    assert change(scanner, uid, ended("COMPLETED")).Status == 0x0000


def test_an_unknown_step_cannot_be_set(scanner: Any, database: Database):
    assert change(scanner, generate_uid(), ended("COMPLETED")).Status == 0x0112
    assert count(database, "procedure_step") == 0


@pytest.mark.parametrize(
    ("study_uid", "changes", "status"),
    [
        ("1.2", {"PerformedProcedureStepStatus": None}, 0x0120),
        ("1.2", {"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106),
        ("1.2", {"PerformedProcedureStepStatus": "DONE"}, 0x0106),
        ("1.2", {"ScheduledStepAttributesSequence": None}, 0x0120),
        ("1.2", {"ScheduledStepAttributesSequence": []}, 0x0121),
        (None, {}, 0x0121),
        ("not a UID", {}, 0x0106),
    ],
)
def test_a_step_that_does_not_say_what_we_need_is_refused(
    scanner: Any,
    database: Database,
    study_uid: str | None,
    changes: dict[str, object],
    status: int,
):
    answer, _ = create(scanner, started(study_uid, **changes))
    assert answer.Status == status
    assert answer.ErrorComment
    assert count(database, "procedure_step") == 0


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize(
    "sent",
    [b"\xff" * 99, b"\x40\x00\x70\x02\xff\xff\xff\xff" * 500],
    ids=["no data set", "sequences in sequences"],
)
def test_a_step_of_bytes_that_are_no_data_set_is_refused(
    scanner: Any, database: Database, sent: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: sent)
    assert create(scanner, started())[0].Status in {0x0106, 0x0110, 0x0120}
    assert scanner.is_established
    assert count(database, "procedure_step") == 0


def test_a_state_of_another_name_changes_nothing(scanner: Any, database: Database):
    uid = generate_uid()
    create(scanner, started(), uid)
    assert change(scanner, uid, ended("FINISHED", ("1.1", ["1.1.1"]))).Status == 0x0106
    assert steps(database)[0][3] == "in progress"
    assert instances(database) == set()


def test_while_postgresql_is_away_a_step_is_refused_for_now_and_taken_after(
    scanner: Any, database: Database, postgres_url: str
):
    uid = generate_uid()
    create(scanner, started(), uid)
    with closed_to_all(postgres_url, database):
        assert change(scanner, uid, ended("COMPLETED", ("1.1", ["1.1.1"]))).Status == 0x0213
        assert create(scanner, started())[0].Status == 0x0213
    assert change(scanner, uid, ended("COMPLETED", ("1.1", ["1.1.1"]))).Status == 0x0000
    assert len(instances(database)) == 1


def test_nothing_of_the_patient_is_kept_or_logged(scanner: Any, database: Database):
    uid = generate_uid()
    with capture_logs() as log:
        create(scanner, started(), uid)
        change(scanner, uid, ended("COMPLETED", ("1.1", ["1.1.1"])))
        change(scanner, uid, ended("COMPLETED"))
    assert len(log) == 3
    kept = rows(
        database, "select s::text, i::text from procedure_step s, procedure_step_instance i"
    )
    assert not any(secret in f"{log}{kept}" for secret in [*NAME.split("^"), PATIENT_ID])
