"""`check-sender` against real receivers, and against ones that fail in each way there is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom.sop_class import Verification

from deepbrainprint.intake.sender_check.check_object import CHECK_STUDY_UID
from deepbrainprint.intake.sender_check.steps import all_well
from tests.integration.archive import (
    HOST,
    Archive,
    abort_with,
    check,
    first_failure,
    hang_up,
    outcomes,
    raw_server,
    silence,
    without,
)
from tests.integration.orthanc import needs_orthanc, running_orthanc
from tests.integration.services import free_port, wait_until

pytestmark = pytest.mark.slow  # many processes are started

dcmtk = pytest.mark.skipif(
    shutil.which("storescp") is None, reason="needs dcmtk: apt-get install dcmtk"
)


# Receivers with which all is well


def test_an_archive_that_does_all_passes_every_step():
    with Archive().open() as port:
        found = check(port)
    assert set(outcomes(found).values()) == {"ok"}, found
    assert list(found) == ["connection", "echo", "store", "store again", "commitment", "query"]
    assert all_well(list(found.values()))


@dcmtk
def test_dcmtk_storescp_passes_and_what_it_does_not_offer_is_said(tmp_path: Path):
    port = free_port()
    command = ["storescp", "-aet", "ARCHIVE", "-od", str(tmp_path), str(port)]
    with subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}) as server:
        try:
            wait_until(lambda: socket.socket().connect_ex((HOST, port)) == 0)
            found = check(port)
        finally:
            server.terminate()
    assert all_well(list(found.values())), found
    assert outcomes(found) | {"commitment": "skipped", "query": "skipped"} == outcomes(found)
    assert "does not know this service" in found["commitment"].words
    assert len(list(tmp_path.iterdir())) == 1


@needs_orthanc
def test_orthanc_passes_and_reports_commitment_on_a_new_association():
    port = free_port()
    with running_orthanc(modalities={"us": ("MR1", port)}, ae_title="ARCHIVE") as orthanc:
        called_back = check(orthanc.dicom_port, report_port=port, report_seconds=10.0)
        not_called_back = check(orthanc.dicom_port)
        assert orthanc.uids("studies").keys() == {CHECK_STUDY_UID}
    assert set(outcomes(called_back).values()) == {"ok"}, called_back
    missing = first_failure(not_called_back)
    assert (missing.step, missing.code) == ("commitment", "commitment_report_missing")
    assert "--report-port" in missing.fix


# Connections


def test_nothing_on_the_port():
    found = check(free_port())
    assert first_failure(found).code == "connection_refused"
    assert outcomes(found)["query"] == "skipped"
    assert found["query"].words == "not tried"


def test_no_machine_of_that_name():
    assert first_failure(check(104, host="no-such-host.invalid")).code == "unknown_host"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(113, "No route to host"), "no_route"),
        (OSError(101, "Network is unreachable"), "no_route"),
        (TimeoutError("timed out"), "no_answer"),
    ],
)
def test_a_network_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch, error: OSError, code: str):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    failure = first_failure(check(104, host="192.0.2.1"))
    assert failure.code == code
    assert "192.0.2.1" in failure.words


def test_a_port_on_which_nothing_answers_in_dicom():
    with raw_server(silence) as port:
        found = check(port, patience=0.5)
    assert first_failure(found).code == "no_association_answer"


def test_a_receiver_that_hangs_up():
    with raw_server(hang_up) as port:
        assert first_failure(check(port)).code == "connection_closed"


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [(0, 0, "it gave no reason"), (2, 2, "did not expect"), (2, 6, "impossible value")],
)
def test_a_receiver_that_aborts(source: int, reason: int, words: str):
    with raw_server(abort_with(source, reason)) as port:
        failure = first_failure(check(port))
    assert failure.code == "aborted"
    assert words in failure.words


# Rejections, PS3.8 Table 9-21


@pytest.mark.parametrize(
    ("triple", "code", "words", "fix"),
    [
        ((1, 1, 1), "rejected_without_reason", "for good", "MR1"),
        ((1, 1, 2), "application_context_not_supported", "application context", "another service"),
        ((1, 1, 3), "calling_ae_not_recognised", "does not know the sender MR1", "admits it"),
        ((1, 1, 7), "called_ae_not_recognised", "ARCHIVE", "called title"),
        ((1, 2, 1), "rejected_by_protocol", "protocol layer", "log"),
        ((1, 2, 2), "protocol_version_not_supported", "version", "another service"),
        ((2, 3, 1), "temporary_congestion", "for now", "in a minute"),
        ((2, 3, 2), "local_limit_exceeded", "associations", "raise"),
        ((2, 1, 10), "unknown_reason", "1/10", ""),
        ((9, 9, 9), "unknown_reason", "9/9", ""),
    ],
)
def test_every_rejection_is_explained(
    triple: tuple[int, int, int], code: str, words: str, fix: str
):
    def reject(connection: socket.socket) -> None:
        if connection.recv(4096):
            connection.sendall(bytes([3, 0, 0, 0, 0, 4, 0, *triple]))
            silence(connection)

    with raw_server(reject) as port:
        found = check(port)
    failure = first_failure(found)
    assert (failure.step, failure.code) == ("echo", code)
    assert words in failure.words
    assert fix in failure.fix
    assert found["store"].words == "not tried"


def test_a_receiver_that_wants_another_title_says_which_was_called():
    with Archive(entity={"require_calling_aet": ["OTHER"]}).open() as port:
        assert first_failure(check(port)).code == "calling_ae_not_recognised"


def test_an_archive_without_echo_may_still_store():
    with Archive(services=without(Verification)).open() as port:
        found = check(port)
    assert (found["echo"].outcome, found["store"].outcome) == ("failed", "ok")
    assert found["echo"].code == "no_presentation_context"
    assert not all_well(list(found.values()))


def test_an_archive_without_secondary_capture_says_what_it_lacks():
    with Archive(services=without(SecondaryCaptureImageStorage)).open() as port:
        found = check(port)
    assert (found["store"].outcome, found["store again"].words) == ("failed", "not tried")
    assert "Secondary Capture" in found["store"].words


# C-STORE statuses, PS3.4 Table B.2-1 and PS3.7 Annex C


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0xA700, "out_of_resources"),
        (0xA7FF, "out_of_resources"),
        (0xA900, "data_set_does_not_match"),
        (0xC000, "cannot_understand"),
        (0xC211, "cannot_understand"),
        (0x0110, "processing_failure"),
        (0x0111, "duplicate_sop_instance"),
        (0x0117, "invalid_object_instance"),
        (0x0122, "sop_class_not_supported"),
        (0x0124, "not_authorised"),
        (0x0210, "duplicate_invocation"),
        (0x0211, "unrecognised_operation"),
        (0x0212, "mistyped_argument"),
        (0x0213, "resource_limitation"),
    ],
)
def test_every_refusal_of_the_object_is_explained(status: int, code: str):
    with Archive(store=lambda _: status).open() as port:
        failure = first_failure(check(port))
    assert (failure.step, failure.code) == ("store", code)
    assert f"0x{status:04X}" in failure.words


def test_what_the_receiver_says_beside_its_status_is_passed_on():
    answer = Dataset()
    answer.Status = 0xA700
    answer.ErrorComment = "disk full"
    with Archive(store=lambda _: answer).open() as port:
        assert "“disk full”" in first_failure(check(port)).words


def test_a_warning_is_a_success_that_is_mentioned():
    with Archive(store=lambda _: 0xB000).open() as port:
        found = check(port)
    assert all_well(list(found.values()))
    assert "coercion" in found["store"].words


def test_a_receiver_that_refuses_repeats_fails_the_second_time():
    answers = iter([0x0000, 0x0111])
    with Archive(store=lambda _: next(answers)).open() as port:
        failure = first_failure(check(port))
    assert (failure.step, failure.code) == ("store again", "duplicate_sop_instance")


def test_a_receiver_that_breaks_off_in_the_middle():
    with Archive(store=lambda event: event.assoc.abort() or 0).open() as port:
        assert first_failure(check(port)).code == "no_response"


# Commitment, PS3.4 Annex J


@pytest.mark.parametrize("status", [0x0110, 0x0112, 0x0119, 0x0122, 0x0131, 0x0213])
def test_every_reason_not_to_commit_is_explained(status: int):
    with Archive(failure=status).open() as port:
        failure = first_failure(check(port))
    assert (failure.step, failure.code) == ("commitment", "not_committed")
    assert f"0x{status:04X}" in failure.words
    assert failure.fix


def test_a_refused_commitment_request_is_explained():
    with Archive(action_status=0x0123).open() as port:
        assert first_failure(check(port)).code == "no_such_action"


def test_a_report_that_never_comes_is_waited_for_within_a_bound():
    with Archive(reports=False).open() as port:
        failure = first_failure(check(port, report_port=free_port(), report_seconds=0.3))
    assert failure.code == "commitment_report_missing"
    assert "0 s" in failure.words


def test_a_port_for_reports_that_is_taken_is_named():
    with Archive().open() as port, socket.create_server(("0.0.0.0", 0)) as taken:
        number = taken.getsockname()[1]
        failure = first_failure(check(port, report_port=number))
    assert failure.code == "report_port_taken"
    assert str(number) in failure.words


# Queries


def test_what_was_stored_must_be_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deepbrainprint.intake.sender_check.steps._INDEXING_SECONDS", 0.1)
    with Archive(matches=0).open() as port:
        assert first_failure(check(port)).code == "stored_but_not_found"


def test_a_refused_query_is_explained():
    with Archive(matches=0, find_status=0xA700).open() as port:
        failure = first_failure(check(port))
    assert (failure.step, failure.code) == ("query", "out_of_resources")
