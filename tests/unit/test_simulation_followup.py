"""What `simulate --life` writes: scans of years, a manifest, the truth; never made twice."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import date

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast
from deepbrainprint.simulation import followup, visits
from deepbrainprint.simulation.followup import COLUMNS, FollowUp, follow_up


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Thick, coarse slices everywhere: what is written is looked at, not how fine it is."""
    planned = visits._planned
    monkeypatch.setattr(
        visits, "_planned", lambda rng, p: replace(planned(rng, p), voxel_mm=(4.0, 4.0, 6.0))
    )


def rows(manifest) -> list[dict[str, str]]:
    with manifest.path.open() as file:
        return list(csv.DictReader(file))


def truth(folder) -> list[dict]:
    return json.loads((folder / "truth.json").read_text())["visits"]


def content(manifest) -> list[bytes]:
    return [file.read_bytes() for scan in manifest.scans for file in scan.files]


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(BadStudy, match="dicom or nifti"):
        FollowUp(tmp_path, format="jpeg")


@pytest.mark.parametrize("words", [["--bare"], ["--years", "3"], ["--life", "--motion", "1"]])
def test_options_that_would_be_ignored_are_refused(tmp_path, words):
    said = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path), *words])
    assert said.exit_code == 2
    assert "--life" in said.output


@pytest.mark.slow
def test_the_command_writes_what_evaluate_reads(tmp_path):
    words = "--people 2 --visits 2 --life --years 4 --bare --format nifti --contrast T1w"
    said = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path), *words.split()])
    assert said.exit_code == 0, said.output
    with (tmp_path / "manifest.csv").open() as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert [row["session"] for row in table] == ["visit-1", "visit-2"] * 2
    for row in table:
        image = nib.load(tmp_path / row["path"])
        assert image.get_data_dtype() == np.int16
        assert (np.asarray(image.dataobj) == 0).mean() > 0.3  # bare
        assert row["contrast"] == "T1w"
    first, second = table[:2]
    assert float(second["age"]) - float(first["age"]) == pytest.approx(4, abs=0.02)
    assert first["sex"] == second["sex"]


@pytest.mark.slow
def test_the_truth_says_what_no_scan_tells(tmp_path):
    follow_up(FollowUp(tmp_path, people=1, visits=3))
    first, *_, last = truth(tmp_path)
    assert last["ventricles_grown_ml"] >= first["ventricles_grown_ml"]
    assert last["grey_lost"] >= first["grey_lost"]
    for before, after in zip(first["lesions"], last["lesions"], strict=False):
        assert set(before) == set(after) == {"place_mm", "radius_mm"}


@pytest.mark.slow
def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    request = FollowUp(tmp_path, people=2, visits=2)
    first = content(follow_up(request))
    monkeypatch.setattr(followup, "examined", lambda *_, **__: pytest.fail("made again"))
    assert content(follow_up(request)) == first


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "changed", "note torn"])
def test_what_was_spoilt_is_made_again_as_it_was(tmp_path, harm):
    request = FollowUp(tmp_path, people=1, visits=2)
    made = follow_up(request)
    first = content(made)
    spoilt = made.scans[1].files[0]
    if harm == "gone":
        spoilt.unlink()
    elif harm == "changed":
        spoilt.write_bytes(b"")
    else:
        (tmp_path / "person-0001" / "made.json").write_text("{")
    assert content(follow_up(request)) == first


@pytest.mark.slow
def test_another_plan_replaces_what_the_first_one_wrote(tmp_path):
    follow_up(FollowUp(tmp_path, contrasts=(Contrast.T1W,), visits=2))
    follow_up(FollowUp(tmp_path, contrasts=(Contrast.T2W,), visits=2))
    assert {path.name for path in tmp_path.rglob("*.nii.gz")} == {"T2w.nii.gz"}


@pytest.mark.slow
def test_a_larger_cohort_keeps_those_it_had(tmp_path):
    few = content(follow_up(FollowUp(tmp_path / "few", people=1, visits=2)))
    many = content(follow_up(FollowUp(tmp_path / "many", people=2, visits=2)))
    assert many[: len(few)] == few


@pytest.mark.slow
def test_dicom_says_when_where_and_of_whom(tmp_path):
    made = follow_up(FollowUp(tmp_path, people=1, visits=2, format="dicom"))
    headers = [pydicom.dcmread(scan.files[3]) for scan in made.scans]
    for header, row, told in zip(headers, rows(made), truth(tmp_path), strict=True):
        assert header.StationName == row["scanner"]
        assert header.PatientSex == row["sex"]
        born, seen = (
            date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:]}")
            for day in (header.PatientBirthDate, header.StudyDate)
        )
        assert (seen - born).days / 365.25 == pytest.approx(told["age"], abs=0.02)
    assert headers[0].PatientID == headers[1].PatientID
    assert headers[0].StudyInstanceUID != headers[1].StudyInstanceUID


@pytest.mark.slow
def test_slices_that_got_lost_are_not_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "_losses", lambda *_: (0.0, 0.0, 0.2))
    made = follow_up(FollowUp(tmp_path, people=1, visits=1, format="dicom"))
    (told,) = truth(tmp_path)
    numbers = [int(pydicom.dcmread(file).InstanceNumber) for file in made.scans[0].files]
    assert len(told["lost_slices"]) > 2
    assert {number + 1 for number in told["lost_slices"]}.isdisjoint(numbers)
    assert len(numbers) == max(numbers) - len(told["lost_slices"])


@pytest.mark.slow
def test_a_wrong_patient_id_comes_with_the_second_visit(tmp_path):
    made = follow_up(FollowUp(tmp_path, people=1, visits=2, format="dicom", wrong_patient_id=True))
    first, second = (pydicom.dcmread(scan.files[0]) for scan in made.scans)
    assert first.PatientID != second.PatientID
    assert first.PatientBirthDate == second.PatientBirthDate


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(tmp_path, monkeypatch):
    monkeypatch.undo()  # workers are processes of their own: only true protocols are the same there
    asked = {"people": 2, "visits": 1, "contrasts": (Contrast.FLAIR,), "bare": True}
    alone = follow_up(FollowUp(tmp_path / "one", **asked))
    told: list[tuple[int, int]] = []
    both = follow_up(
        FollowUp(tmp_path / "two", workers=2, **asked), progress=lambda *done: told.append(done)
    )
    assert content(alone) == content(both)
    assert told == [(1, 2), (2, 2)]
