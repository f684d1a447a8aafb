"""`deepbrainprint pull` and `pulls` as a user meets them: killed, stopped, misused, read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from deepbrainprint.settings import Settings
from tests.instances import NAME, PATIENT_ID, save
from tests.integration.orthanc import Orthanc, needs_orthanc
from tests.integration.pulling import filed, study
from tests.integration.services import environment, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started


def run_cli(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deepbrainprint.cli", *arguments],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def cli(settings: Settings, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    process = run_cli(settings, *arguments)
    out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out, err


def address(orthanc: Orthanc) -> str:
    return f"{orthanc.ae_title}@{orthanc.host}:{orthanc.dicom_port}"


@needs_orthanc
@pytest.mark.slow  # a process for each command
def test_a_pull_that_was_killed_is_resumed_and_every_study_is_there_once(
    orthanc, intake_settings, database, tmp_path
):
    images = [image for n in range(3) for image in study(6, AccessionNumber=f"A{n}")]
    orthanc.upload(save(tmp_path, *images))
    command = ["pull", "--from", address(orthanc), "--list", "-", "--rate", "20"]
    process = run_cli(intake_settings, *command)
    assert process.stdin is not None
    process.stdin.write("A0\nA1\nA2\n")
    process.stdin.close()
    wait_until(lambda: count(database, "instance") >= 8)
    process.kill()
    process.wait()
    assert 8 <= count(database, "instance") < 18
    interrupted = json.loads(cli(intake_settings, "pulls", "--json")[1])
    assert [(one["state"], one["fetched"]) for one in interrupted] == [("interrupted", 1)]

    code, out, _ = cli(intake_settings, "pull", "--resume", "1", "--json")

    assert code == 0
    assert json.loads(out)["pull"]["state"] == "done"
    assert set(filed(database)) == {image.SOPInstanceUID for image in images}
    assert rows(database, "select count(*), sum(repeats) from instance") == [(18, 0)]


@needs_orthanc
def test_a_pull_that_is_asked_to_end_says_how_to_go_on(
    orthanc, intake_settings, database, tmp_path
):
    orthanc.upload(save(tmp_path, *study(50, AccessionNumber="A1")))
    command = ["pull", "--from", address(orthanc), "--accession", "A1", "--rate", "20", "--json"]
    process = run_cli(intake_settings, *command)
    wait_until(lambda: count(database, "instance") >= 3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 4
    assert json.loads(out)["pull"]["reason_code"] == "stopped"
    assert "deepbrainprint pull --resume 1" in err
    assert count(database, "instance") < 50


@needs_orthanc
@pytest.mark.slow  # a process for each command
def test_a_report_names_lines_and_shows_identity_only_when_asked(
    orthanc, intake_settings, database, tmp_path
):
    orthanc.upload(save(tmp_path, *study(2, AccessionNumber="ACC-4711")))
    asked = "AccessionNumber\nACC-4711\nACC-4712\n"
    command = ["pull", "--from", address(orthanc), "--list", "-"]
    outputs = [
        cli(intake_settings, *command, stdin=asked),
        cli(intake_settings, *command, "--json", stdin=asked),
        cli(intake_settings, "pulls", "1"),
        cli(intake_settings, "pulls", "1", "--json"),
    ]
    said = "".join(out + err for _, out, err in outputs)
    for secret in ("ACC-471", NAME, PATIENT_ID, "Sonderling"):
        assert secret not in said
    assert [code for code, _, _ in outputs] == [1, 1, 0, 0]
    assert "line 3" in outputs[0][1]
    document = json.loads(outputs[1][1])
    assert {k: document["pull"][k] for k in ("found", "already_here", "not_there", "missing")} == {
        "found": 1,
        "already_here": 1,
        "not_there": 1,
        "missing": 1,
    }
    assert "ACC-4712" in cli(intake_settings, "pulls", "1", "--show-identity")[1]
    kept = rows(database, "select p::text from pull p union all select a::text from pull_ask a")
    assert "ACC-47" not in str(kept)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--accession", "A1"],
        ["--from", "X@h:1", "--url", "http://h", "--accession", "A1"],
        ["--from", "nonsense", "--accession", "A1"],
        ["--from", "X@h:1"],
        ["--from", "X@h:1", "--by", "web", "--accession", "A1"],
        ["--resume", "1", "--accession", "A1"],
    ],
)
def test_a_command_that_makes_no_sense_is_a_usage_error(arguments, intake_settings):
    code, _, err = cli(intake_settings, "pull", *arguments)
    assert code == 2, err


def test_a_list_that_cannot_be_used_opens_no_pull(intake_settings, database):
    code, _, err = cli(
        intake_settings, "pull", "--from", "X@h:1", "--list", "-", stdin="A1\nSECRET*\n"
    )
    assert code == 3
    assert "line 2" in err
    assert "SECRET" not in err
    assert count(database, "pull") == 0
