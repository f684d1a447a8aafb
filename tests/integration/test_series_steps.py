"""A study of several series through the steps: each is used, left out or refused by itself."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.cli.desk import _series_line
from deepbrainprint.database import pipeline, reports
from deepbrainprint.errors import BadStudy, NotApplicable
from deepbrainprint.imaging import brain
from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.intake.closing.duplicates import note_study_pixels
from deepbrainprint.records import Contrast, StudyRevision
from deepbrainprint.workflow import ingest, stripping
from deepbrainprint.workflow.step import NATIVE
from tests.closing import close_quiet_studies
from tests.instances import delivery, receive
from tests.rows import count, rows
from tests.scans import series

pytest.importorskip("dcm2niix")


class Ward:
    """Files series as the listener does, and closes the study."""

    def __init__(self, settings, database):
        self.settings, self.database = settings, database

    def scan(self, *every, without=(), changes=None) -> StudyRevision:
        """Each of `every` is a contrast; its series number is its place. `without` leaves out."""
        for number, contrast in enumerate(every, start=1):
            instances = series(contrast, number=number)
            for place, instance in enumerate(instances):
                for keyword, value in (changes or {}).get(number, {}).items():
                    setattr(instance, keyword, value)
                if (number, place) not in without:
                    receive(self.settings, self.database, delivery(instance))
        with self.database.transaction() as connection:
            (run,) = close_quiet_studies(connection, quiet_seconds=0)
        note_study_pixels(self.settings, self.database, run.study_id)
        return run

    def series(self, run):
        with self.database.transaction() as connection:
            found = reports.series_reports(connection, run.study_id)
        return {report.series_number: report for report in found}

    def scans(self, run):
        with self.database.transaction() as connection:
            return pipeline.scans_of(connection, run)


@pytest.fixture
def ward(intake_settings, database):
    return Ward(intake_settings, database)


T1W, T2W, FLAIR, PD = Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD
GAP = [(1, 7), (1, 8)]  # of series 1 two slices never came


def test_every_usable_series_is_converted_the_best_first(ward):
    run = ward.scan(T2W, FLAIR, T1W)
    ingest.convert(ward.settings, run)
    assert [scan.contrast for scan in ward.scans(run)] == [T1W, FLAIR, T2W]
    assert all(
        (ward.settings.studies_folder / scan.folder / NATIVE).is_file() for scan in ward.scans(run)
    )
    assert all(report.chosen for report in ward.series(run).values())


def test_a_broken_series_does_not_stop_the_others_and_says_what_is_wrong(ward):
    run = ward.scan(T1W, T2W, without=GAP)
    ingest.convert(ward.settings, run)
    found = ward.series(run)
    assert [scan.series_number for scan in ward.scans(run)] == [2]
    assert (found[1].chosen, found[1].verdict) == (False, "fail")
    assert (found[1].verdict_code, found[2].chosen) == ("missing_slices", True)
    assert "slices are missing" in _series_line(found[1])["reason"]


def test_when_every_series_is_broken_the_study_is_rejected_with_the_reason_of_each(ward):
    run = ward.scan(T1W, T2W, without=[*GAP, (2, 4), (2, 5)])
    with pytest.raises(BadStudy) as refused:
        ingest.convert(ward.settings, run)
    assert refused.value.code == "missing_slices"
    assert all(f"series {number}" in str(refused.value) for number in (1, 2))
    state = rows(ward.database, "select state, reason_code from study_revision")
    assert state == [("rejected", "missing_slices")]


def test_a_third_series_of_one_contrast_is_not_needed_but_takes_the_place_of_a_broken_one(ward):
    acquired = {n: {"AcquisitionTime": f"12{n:02}00", "AcquisitionNumber": n} for n in range(1, 5)}
    run = ward.scan(T1W, T1W, T1W, T1W, without=GAP, changes=acquired)
    ingest.convert(ward.settings, run)
    found = ward.series(run)
    assert [found[number].chosen for number in (1, 2, 3, 4)] == [False, True, True, False]
    assert found[4].usable
    assert found[4].reason.startswith("not needed: 2 better T1w series are used")


def test_a_series_with_the_same_pixels_under_another_uid_is_left_out(ward):
    pixels = series(T1W, number=1)[0].PixelData
    same = {"PixelData": pixels}
    acquired = {n: same | {"AcquisitionTime": f"12{n:02}00"} for n in (1, 2)}
    run = ward.scan(T1W, T1W, changes=acquired)
    ingest.convert(ward.settings, run)
    found = ward.series(run)
    assert (found[1].chosen, found[2].chosen, found[2].usable) == (True, False, False)
    assert found[2].reason.startswith("same pixels as series 1")


def test_two_series_of_one_number_keep_their_files_apart(ward):
    run = ward.scan(T1W, T2W, changes={2: {"SeriesNumber": 1}})
    ingest.convert(ward.settings, run)
    assert len({scan.folder for scan in ward.scans(run)}) == 2


def test_converting_again_changes_neither_rows_nor_files(ward):
    run = ward.scan(T2W, T1W, FLAIR, without=[(3, 5), (3, 6)])
    ingest.convert(ward.settings, run)

    def state():
        folders = [ward.settings.studies_folder / scan.folder for scan in ward.scans(run)]
        return ward.series(run), ward.scans(run), [(f / NATIVE).read_bytes() for f in folders]

    before = state()
    ingest.convert(ward.settings, run)
    assert state() == before


def alignment():
    """What stripping keeps of one."""
    aligned = np.zeros((182, 218, 182), dtype=np.uint8)
    aligned[40:140, 40:180, 40:140] = 100
    return SimpleNamespace(brain=aligned, quality={"residual": 0.6})


@pytest.fixture
def examined(monkeypatch):
    """Stands in for deepbet: the nth scan of a visit gets the nth verdict; what happened when."""
    events: list[str] = []

    def set_up(*verdicts):
        def visit(volumes, *_):
            for number, (scan, verdict) in enumerate(zip(volumes, verdicts, strict=True)):
                events.append(f"examine {number}")
                if verdict is Verdict.FAIL:
                    yield Examination(scan, verdict, (f"no brain {number}",), "not_a_brain")
                else:
                    flags = ("low_quality", "noisy") if verdict is Verdict.FLAG else ()
                    yield Examination(scan, verdict, flags, alignment=alignment())

        read = stripping.volume.read
        monkeypatch.setattr(
            stripping.volume, "read", lambda path: events.append("read") or read(path)
        )
        monkeypatch.setattr(brain, "examine_visit", visit)
        return events

    return set_up


def test_each_scan_keeps_its_verdict_its_reasons_and_its_figures(ward, examined):
    run = ward.scan(T1W, FLAIR, T2W)
    ingest.convert(ward.settings, run)
    examined(Verdict.PASS, Verdict.FAIL, Verdict.FLAG)
    ingest.strip(ward.settings, run)
    found = ward.series(run)
    assert [found[number].verdict for number in (1, 2, 3)] == ["pass", "fail", "flag"]
    assert (found[2].verdict_code, found[2].verdict_reasons) == ("not_a_brain", ["no brain 1"])
    assert found[3].verdict_reasons == ["low_quality", "noisy"]
    first, second, third = ward.scans(run)
    assert (first.failed, second.failed, third.failed) == (False, True, False)
    assert (first.quality["low_quality"], third.quality["low_quality"]) == (0.0, 1.0)
    assert first.quality["residual"] == 0.6


def test_the_story_of_a_study_shows_each_series_what_it_is_and_what_became_of_it(
    ward, examined, database_url, monkeypatch
):
    run = ward.scan(T1W, T2W, FLAIR, without=GAP)
    ingest.convert(ward.settings, run)
    examined(Verdict.FLAG, Verdict.PASS)
    ingest.strip(ward.settings, run)
    monkeypatch.setenv("DBP_DATABASE_URL", database_url)
    told = CliRunner().invoke(app, ["studies", str(run.study_id)]).stdout
    for words in ("confidence", "chosen", "verdict", "flag", "noisy", "slices are missing"):
        assert words in told
    assert "Secret" not in told
    story = CliRunner().invoke(app, ["studies", str(run.study_id), "--json"]).stdout
    found = {one["series_number"]: one for one in json.loads(story)["series"]}
    assert [found[n]["verdict"] for n in (1, 2, 3)] == ["fail", "pass", "flag"]
    assert [found[n]["contrast"] for n in (1, 2, 3)] == ["T1w", "T2w", "FLAIR"]


def test_a_refused_scan_is_not_cut_into_slices(ward, examined):
    run = ward.scan(T1W, T2W)
    ingest.convert(ward.settings, run)
    examined(Verdict.FAIL, Verdict.PASS)
    ingest.strip(ward.settings, run)
    ingest.cut_slices(ward.settings, run)
    bad, good = (ward.settings.studies_folder / scan.folder for scan in ward.scans(run))
    assert (good / "slices.npy").is_file()
    assert not (bad / "slices.npy").exists()


def test_a_study_without_a_brain_says_of_each_series_why(ward, examined):
    run = ward.scan(T1W, T2W)
    ingest.convert(ward.settings, run)
    examined(Verdict.FAIL, Verdict.FAIL)
    with pytest.raises(NotApplicable) as refused:
        ingest.strip(ward.settings, run)
    assert refused.value.code == "not_a_brain"
    assert str(refused.value) == "series 1: no brain 0; series 2: no brain 1"
    assert rows(ward.database, "select state from study_revision") == [("not_applicable",)]


def test_a_file_that_cannot_be_read_is_refused_and_the_others_go_on(ward, examined):
    run = ward.scan(T1W, FLAIR, T2W)
    ingest.convert(ward.settings, run)
    damaged = ward.settings.studies_folder / ward.scans(run)[1].folder / NATIVE
    damaged.write_bytes(b"damaged")
    examined(Verdict.PASS, Verdict.FLAG)
    ingest.strip(ward.settings, run)
    found = ward.series(run)
    assert [found[number].verdict for number in (1, 2, 3)] == ["pass", "fail", "flag"]
    assert found[2].verdict_code == "unreadable_nifti"


def test_volumes_are_read_one_at_a_time(ward, examined):
    run = ward.scan(T1W, FLAIR, T2W)
    ingest.convert(ward.settings, run)
    events = examined(Verdict.PASS, Verdict.PASS, Verdict.PASS)
    ingest.strip(ward.settings, run)
    assert all({"read"} != set(pair) for pair in pairwise(events))
    assert events.count("read") == 3


def test_stripping_again_after_a_crash_gives_the_same_rows_and_lets_nothing_behind(ward, examined):
    run = ward.scan(T1W, T2W)
    ingest.convert(ward.settings, run)
    examined(Verdict.FLAG, Verdict.FAIL)
    ingest.strip(ward.settings, run)
    before = ward.scans(run), ward.series(run)
    examined(Verdict.FLAG, Verdict.FAIL)
    ingest.strip(ward.settings, run)
    assert (ward.scans(run), ward.series(run)) == before
    assert count(ward.database, "scan") == 2
