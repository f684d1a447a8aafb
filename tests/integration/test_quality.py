"""`deepbrainprint quality` as a user meets it, from files and from what the service received."""

from __future__ import annotations

import base64
import json
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.imaging import brain
from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.simulation.heads import person
from tests.instances import delivery, receive
from tests.scans import saved, series
from tests.unit.test_imaging_pictures import chunks

pytest.importorskip("dcm2niix")

SECRETS = ("ecret", "ECRET", "19601231", "1960", "Hidden", "HIDDEN")


def asked(*words, code):
    """The answer in JSON, after a check of the exit code."""
    with capture_logs():  # `main` sends them to stderr
        outcome = CliRunner().invoke(app, ["quality", *map(str, words), "--json"])
    assert outcome.exit_code == code, outcome.output
    assert isinstance(outcome.exception, SystemExit | None), outcome.exc_info
    return json.loads(outcome.stdout)


def nifti(path, data, affine):
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def head():
    return person(5).scan()


@pytest.fixture
def broken_study(tmp_path):
    """A series of noise with two slices missing, and identity wherever a header has room."""
    held = series()
    del held[7:9]
    hidden = {
        "SeriesDescription": "Hidden^Name t1", "ProtocolName": "Hidden", "ImageComments": "Hidden",
        "PatientComments": "Hidden", "InstitutionName": "Hidden", "BodyPartExamined": "HIDDENHEAD",
    }  # fmt: skip
    saved(held, tmp_path / "study", **hidden)
    return tmp_path / "study"


def test_missing_slices_are_named_and_nothing_of_the_patient_is(broken_study, tmp_path):
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    document = asked(broken_study, "--out", out, "--sheet", sheet, code=1)
    asked(broken_study, "--out", out, "--png", code=1)
    (found,) = document["inputs"]
    assert (found["verdict"], found["code"]) == ("fail", "missing_slices")
    assert "missing between instances 7 and 10" in found["reasons"][0]
    assert found["input"] == str(broken_study)
    page = (out / "quality-1.html").read_text()
    for secret in SECRETS:
        assert secret not in json.dumps(document)
        assert secret not in page
    for png in (sheet, out / "quality-1.png"):
        assert chunks(png.read_bytes()) == {b"IHDR", b"IDAT", b"IEND"}
    assert {path.name for path in out.iterdir()} == {"quality-1.html", "quality-1.png"}


def test_a_study_without_a_usable_series_says_of_each_why(tmp_path):
    saved(series(slices=10), tmp_path / "short")  # 40 mm
    saved(series(number=2), tmp_path / "short" / "ct", Modality="CT")
    (found,) = asked(tmp_path / "short", code=1)["inputs"]
    assert found["code"] == "no_brain_series"
    reasons = {one["series_number"]: one["reason"] for one in found["series"]}
    assert "less than a head" in reasons[1]
    assert "not magnetic resonance" in reasons[2]
    assert not any(one["usable"] for one in found["series"])


def test_a_series_that_the_service_would_not_need_is_not_examined(tmp_path, monkeypatch):
    for number in range(1, 5):
        saved(
            series(number=number),
            tmp_path / "study" / str(number),
            AcquisitionTime=f"12000{number}",
        )
    monkeypatch.setattr(brain, "examine_visit", lambda scans, _strip: map(refused, scans))
    (found,) = asked(tmp_path / "study", code=1)["inputs"]
    assert [one["series_number"] for one in found["scans"]] == [1, 2]
    assert all("not needed" in one["reason"] for one in found["series"][2:])


def refused(scan):
    return Examination(scan, Verdict.FAIL, ("it is no brain",), "not_a_brain")


def test_one_dicom_file_is_an_input_too(tmp_path):
    files = saved(series(), tmp_path / "study")
    (found,) = asked(files[3], code=1)["inputs"]
    assert found["code"] == "no_brain_series"
    assert found["series"][0]["instances"] == 1


def test_what_is_no_image_at_all_is_said_for_each_input(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.txt").write_text("Dear colleague")
    torn = nifti(tmp_path / "torn.nii.gz", np.ones((9, 9, 9)), np.eye(4))
    torn.write_bytes(torn.read_bytes()[:40])
    flat = nifti(tmp_path / "flat.nii.gz", np.ones((40, 40, 3)), np.eye(4))
    inputs = asked(tmp_path / "empty", tmp_path / "letter.txt", torn, flat, code=1)["inputs"]
    codes = ["no_files", "unreadable_file", "unreadable_nifti", "not_a_volume"]
    assert [one["code"] for one in inputs] == codes
    assert all(one["next"] for one in inputs)


def test_nothing_to_inspect_is_wrong_usage(tmp_path):
    for words in ([], ["--png", str(tmp_path)], [str(tmp_path / "nothing")]):
        assert CliRunner().invoke(app, ["quality", *words]).exit_code == 2


def test_a_study_that_the_service_received_is_inspected_by_its_number(
    intake_settings, database, monkeypatch
):
    held = series()
    del held[7:9]
    for instance in held:
        receive(intake_settings, database, delivery(instance))
    monkeypatch.setenv("DBP_DATABASE_URL", intake_settings.database_url.get_secret_value())
    here = "--home", intake_settings.home
    (found,) = asked("--study", 1, *here, code=1)["inputs"]
    assert (found["input"], found["code"]) == ("study 1, revision 1", "missing_slices")
    assert found["recorded"] == "receiving"
    assert asked_in_vain("--study", 2, *here) == "no_such_study"
    for path in intake_settings.instances_folder.rglob("*.dcm"):
        path.unlink()
    assert asked_in_vain("--study", 1, *here) == "instances_missing"


def asked_in_vain(*words):
    return CliRunner().invoke(app, ["quality", *map(str, words)]).exception.code


@pytest.mark.slow
def test_a_head_passes_and_a_cut_one_is_flagged_and_both_are_drawn(head, tmp_path):
    top = head.data.shape[2] * 62 // 100
    whole = nifti(tmp_path / "whole.nii.gz", head.data, head.affine)
    cut = nifti(tmp_path / "cut.nii.gz", head.data[:, :, :top], head.affine)
    document = asked(whole, cut, "--out", tmp_path, "--sheet", tmp_path / "sheet.png", code=0)
    first, second = document["inputs"]
    assert (first["verdict"], second["verdict"], document["verdict"]) == ("pass", "flag", "flag")
    assert "partial_coverage" in second["scans"][0]["flags"]
    assert set(first["scans"][0]["seconds"]) == {"convert", "strip", "align"}
    page = (tmp_path / "quality-1.html").read_text()
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 2
    for picture in pictures:
        assert chunks(base64.b64decode(picture)) == {b"IHDR", b"IDAT", b"IEND"}
    assert Image.open(tmp_path / "sheet.png").height > 400


@pytest.mark.slow
def test_a_ball_of_noise_is_refused_as_no_brain_and_still_drawn(tmp_path):
    noise = np.random.default_rng(0).normal(100, 20, (64, 64, 40))
    path = nifti(tmp_path / "noise.nii.gz", noise, np.diag([3, 3, 4, 1]))
    (found,) = asked(path, "--out", tmp_path, code=1)["inputs"]
    assert found["code"] == "not_a_brain"
    assert "data:image/png" in (tmp_path / "quality-1.html").read_text()
