"""`deepbrainprint check-sender` as a person meets it, and the object that it sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pynetdicom.sop_class import StorageCommitmentPushModel

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging import series
from deepbrainprint.intake.sender_check.check_object import CHECK_STUDY_UID, check_object
from tests.certificates import Pair, authority, signed
from tests.instances import save
from tests.integration.archive import (
    Archive,
    behind_tls,
    without,
)
from tests.integration.services import free_port
from tests.integration.test_cli import run

pytestmark = pytest.mark.slow  # many processes are started


@pytest.fixture
def hospital(tmp_path: Path) -> Pair:
    return authority(tmp_path)


def test_all_checks_make_one_study_that_names_nobody():
    first, second = check_object(), check_object()
    assert first.StudyInstanceUID == second.StudyInstanceUID == CHECK_STUDY_UID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert "TEST" in first.PatientName.family_name


def test_the_pipeline_leaves_the_object_aside(tmp_path: Path):
    with pytest.raises(NotApplicable) as ended:
        series.choose_files(save(tmp_path, check_object()))
    assert ended.value.code == "no_brain_series"


def test_the_command_prints_a_checklist_and_succeeds():
    with Archive().open() as port:
        done = run("check-sender", "--port", port, "--called-ae", "ARCHIVE")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓") == 6
    assert "All is well: CHECK_SENDER can send to 127.0.0.1" in done.stdout


def test_the_command_fails_with_cause_and_fix():
    with Archive(store=lambda _: 0xA700).open() as port:
        done = run("check-sender", "--port", port, "--called-ae", "ARCHIVE", "--calling-ae", "MR1")
    assert done.returncode == 1
    assert "✗ store" in done.stdout
    assert "→ Free space on the receiver's disk" in done.stdout
    assert "Not ready" in done.stdout


def test_the_command_gives_one_json_document():
    with Archive(services=without(StorageCommitmentPushModel)).open() as port:
        done = run("check-sender", "--port", port, "--json")
    document = json.loads(done.stdout)
    assert (document["all_well"], document["called_ae"]) == (True, "DEEPBRAINPRINT")
    found = {finding["step"]: finding for finding in document["findings"]}
    assert (found["commitment"]["outcome"], found["commitment"]["code"]) == (
        "skipped",
        "no_presentation_context",
    )


def test_the_command_speaks_tls(hospital: Pair, tmp_path: Path):
    shown = signed(tmp_path, hospital, "modality")
    archive = behind_tls(signed(tmp_path, hospital), tls_client_authority=hospital.certificate)
    files = ["--authority", hospital.certificate, "--certificate", shown.certificate]
    with archive.open() as port:
        done = run("check-sender", "--port", port, "--tls", *files, "--key", shown.key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ TLS" in done.stdout


def test_a_wrong_certificate_file_names_its_option(tmp_path: Path):
    done = run("check-sender", "--tls", "--authority", tmp_path / "missing.pem")
    assert done.returncode == 5
    assert "--authority: cannot read" in done.stderr


def test_an_impossible_title_is_a_wrong_setting():
    done = run("check-sender", "--port", free_port(), "--calling-ae", "A" * 17)
    assert done.returncode in {1, 5}
    assert "Traceback" not in done.stderr
