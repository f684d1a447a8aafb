"""Whole visits of synthetic people, several series each, through all steps; nothing is made up."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.database import pipeline, reports
from deepbrainprint.encoder.runtime import open_encoder
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.records import Contrast, HeaderIdentity
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.heads import person, random_pose
from deepbrainprint.simulation.scanner import Exam, acquire, write
from deepbrainprint.workflow import ingest
from tests.closing import close_quiet_studies
from tests.instances import delivery, receive
from tests.rows import count, rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
T1W, T2W, FLAIR = Contrast.T1W, Contrast.T2W, Contrast.FLAIR
STEPS = (ingest.convert, ingest.strip, ingest.cut_slices, ingest.encode, ingest.link)


def visit(who: int, number: int, *contrasts: Contrast) -> list[list]:
    """The series of one visit, in one position of the head."""
    pose = random_pose(np.random.default_rng([who, number]))
    identity = HeaderIdentity(f"P{number}", "SIM", "Secret^Name", "19601231", "F", "A1", "20240108")
    return [
        acquire(
            person(who).scan(protocol, seed=number, pose=pose),
            Exam(f"{who}/{number}", identity, protocol, series_number=place),
        )
        for place, protocol in enumerate(
            (Protocol(contrast, voxel_mm=(1.5, 1.5, 2.0)) for contrast in contrasts), start=1
        )
    ]


@pytest.fixture
def hospital(intake_settings, database):
    encoder = open_encoder(intake_settings.encoder_path)
    with database.transaction() as connection:
        pipeline.ensure_bundle(
            connection,
            encoder_version=encoder.version,
            encoder_digest="0",
            preprocessing_version=PREPROCESSING_VERSION,
            calibration=encoder.calibration,
        )
    return intake_settings, database


def sent(hospital, series):
    settings, database = hospital
    for instances in series:
        for instance in instances:
            receive(settings, database, delivery(instance))
    with database.transaction() as connection:
        (run,) = close_quiet_studies(connection, quiet_seconds=0)
    return run


def left_by(settings, database, run):
    """All rows and files of a revision that steps write, but for times."""
    scans = rows(database, "select * from scan order by scan_id")
    prints = rows(
        database, "select scan_id, encoder_id, input_digest, vector from fingerprint order by 1"
    )
    evidence = rows(database, "select * from decision_evidence order by 1, 2, 3")
    folder = settings.studies_folder / str(run.study_id)
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return scans, [(*row[:3], bytes(row[3])) for row in prints], evidence, files


def test_a_second_visit_is_known_by_all_its_series_and_every_step_may_be_repeated(hospital):
    settings, database = hospital
    first = sent(hospital, visit(1, 1, T1W, T2W, FLAIR))
    for step in STEPS:
        step(settings, first)
    second = sent(hospital, visit(1, 2, T2W, T1W))
    for step in STEPS:
        step(settings, second)
    before = left_by(settings, database, second)
    for step in STEPS:
        step(settings, second)
    assert left_by(settings, database, second) == before

    with database.transaction() as connection:
        (link,) = reports.link_reports(connection, study_id=second.study_id)
        told = reports.evidence_reports(connection, link.decision_id)
        series = reports.series_reports(connection, first.study_id)
    assert [one.verdict for one in series] == ["pass"] * 3
    assert count(database, "fingerprint") == 5
    assert [one.contrast for one in told] == ["T1w", "T2w"]
    assert link.verdict in {"linked", "review"}
    assert all(one.known_study_id == first.study_id for one in told)


def test_two_folders_are_compared_by_all_their_series(tmp_path):
    for name, who, number, contrasts in (
        ("a", 1, 1, (T1W, T2W)), ("b", 1, 2, (T1W, T2W)), ("c", 4, 1, (T2W, T1W)),
    ):  # fmt: skip
        for place, instances in enumerate(visit(who, number, *contrasts)):
            write(instances, tmp_path / name / str(place))

    def ask(*words):
        done = CliRunner().invoke(app, [*words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    a, b, c = (str(tmp_path / name) for name in "abc")
    (made,) = ask("fingerprint", a)["fingerprints"]
    assert [one["contrast"] for one in made["series"]] == ["T1w", "T2w"]
    assert made["contrast"] == "T1w"
    same, back, other = ask("compare", a, b), ask("compare", b, a), ask("compare", a, c)
    assert len(same["series"]) == 2
    assert same["llr"] == pytest.approx(back["llr"])
    assert same["llr"] > 0 > other["llr"]
