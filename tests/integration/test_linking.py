"""Linkage on a real database: vectors are made up, everything else is as in service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deepbrainprint.database import pipeline, reports
from deepbrainprint.database.arrivals import record_arrivals
from deepbrainprint.encoder.runtime import open_encoder
from deepbrainprint.errors import BadStudy, Conflict, Misconfigured, NotApplicable, TryAgain
from deepbrainprint.linkage.calibration import Calibration, Line
from deepbrainprint.linkage.decision import combine
from deepbrainprint.records import (
    Contrast,
    HeaderIdentity,
    Instance,
    SeriesChoice,
    State,
    StudyId,
    StudyRevision,
)
from deepbrainprint.settings import load_settings
from deepbrainprint.workflow import ingest, linking
from deepbrainprint.workflow.step import perform
from tests.closing import close_quiet_studies
from tests.rows import count, rows

CALIBRATION = Calibration(Line(30.0, 0.5), Line(30.0, 0.3), 6.0, 0.0, 2.0, 100, {})
RNG = np.random.default_rng(7)


def somebody():
    drawn = RNG.normal(size=512).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


def again(vector, noise=0.3):
    """Another scan of the same person; cosine about 1 / √(1 + noise²)."""
    drawn = vector + noise * somebody()
    return drawn / np.linalg.norm(drawn)


def at_cosine(vector, cosine):
    """Another scan with exactly this similarity."""
    drawn = somebody()
    aside = drawn - (drawn @ vector) * vector
    return cosine * vector + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)


class Site:
    """A database with an active bundle, into which encoded studies are put."""

    def __init__(self, database, url, home):
        self.database = database
        self.settings = load_settings(database_url=url, home=home)
        self.sent = 0
        with database.transaction() as connection:
            pipeline.ensure_bundle(
                connection,
                encoder_version="made-up",
                encoder_digest="0",
                preprocessing_version="1",
                calibration=CALIBRATION.to_json(),
            )

    def receive(self, vector, *, header="", contrast=Contrast.T1W, study=None, quality=None):
        """A closed, encoded revision of a new study, or of one that is there."""
        return self.receive_all([(contrast, vector, quality)], header=header, study=study)

    def receive_all(self, scans, *, header="", study=None):
        """The same of several series: contrast, vector and quality of each."""
        self.sent += 1
        uid = f"1.2.{study or self.sent}"
        path = Path(f"{self.sent}.dcm")
        instance = Instance(uid, "1.2.1", f"1.9.{self.sent}", "1", "1", path, 1, "a" * 64, "AE")
        with self.database.transaction() as connection:
            record_arrivals(connection, [(instance, HeaderIdentity(patient_id=header))])
            (run,) = close_quiet_studies(connection, quiet_seconds=0)
            for number, (contrast, vector, quality) in enumerate(scans, start=1):
                scan = self._scan(connection, run, number, contrast)
                pipeline.set_quality(connection, scan, quality or {})
                self._encoded(connection, scan, vector)
        return run

    def _scan(self, connection, run, number, contrast):
        choice = SeriesChoice(f"1.2.{number}", number, contrast, True, 1.0, "made up", 1)
        pipeline.replace_series(connection, run, choice, chosen=True)
        return pipeline.ensure_scan(connection, run, choice, folder=Path("none"))

    def _encoded(self, connection, scan, vector):
        encoder = pipeline.active_bundle(connection).encoder_id
        pipeline.insert_fingerprint(connection, scan, encoder, vector=vector, input_digest="0")

    def link(self, run):
        ingest.link(self.settings, run)
        return self.decision(run)

    def decision(self, run):
        (found,) = rows(
            self.database,
            "select verdict, patient_id, reasons from decision "
            "where study_id = %s and revision = %s",
            run.study_id,
            run.revision,
        )
        return found


@pytest.fixture
def site(database, database_url, tmp_path):
    return Site(database, database_url, tmp_path)


def test_a_first_study_makes_a_patient_and_a_second_one_is_linked_to_it(site):
    person = somebody()
    first = site.link(site.receive(person))
    second = site.link(site.receive(again(person), header="another id"))
    assert first[0] == "new_patient"
    assert second == ("linked", first[1], ["brain_matches", "header_differs"])


def test_somebody_else_is_another_patient(site):
    first = site.link(site.receive(somebody()))
    second = site.link(site.receive(somebody()))
    assert (second[0], count(site.database, "patient")) == ("new_patient", 2)
    assert first[1] != second[1]


def test_a_header_that_names_somebody_else_goes_to_review(site):
    anna, berta = somebody(), somebody()
    site.link(site.receive(anna, header="A1"))
    site.link(site.receive(berta, header="B2"))
    verdict, patient, reasons = site.link(site.receive(again(berta), header="A1"))
    assert (verdict, patient) == ("review", None)
    assert "identity_conflict" in reasons


@pytest.mark.parametrize("dummy", ["", "***", "0000", "ANONYMOUS"])
def test_a_dummy_patient_id_says_nothing_about_anybody(site, dummy):
    site.link(site.receive(somebody(), header=dummy))
    assert site.link(site.receive(somebody(), header=dummy))[0] == "new_patient"


def test_the_same_cosine_is_weighed_by_whether_the_contrast_is_the_same(site):
    person = somebody()
    site.link(site.receive(person))
    weak = at_cosine(person, 0.53)  # weak for one contrast, strong across two
    assert site.link(site.receive(weak))[0] == "review"
    across = site.link(site.receive(weak, contrast=Contrast.T2W))
    assert (across[0], "cross_contrast" in across[2]) == ("linked", True)


def test_a_scan_of_low_quality_goes_to_review(site):
    person = somebody()
    site.link(site.receive(person))
    poor = site.link(site.receive(again(person), quality={"low_quality": 1.0}))
    assert (poor[0], poor[2][0]) == ("review", "low_quality")


T1W, T2W = Contrast.T1W, Contrast.T2W
POOR = {"low_quality": 1.0}


def evidence_of(site, run):
    """Evidence for the best candidate of the decision on a revision."""
    with site.database.transaction() as connection:
        (link,) = reports.link_reports(connection, study_id=run.study_id)
        found = reports.evidence_reports(connection, link.decision_id)
        best, *_ = reports.candidate_reports(connection, link.decision_id)
    return best, [report for report in found if report.rank == 1]


def test_two_series_that_are_each_too_weak_link_together_and_show_what_each_said(site):
    person = somebody()
    site.link(site.receive(person))
    weak = [at_cosine(person, 0.692) for _ in range(2)]  # evidence 5.76 of the 6 needed
    assert site.link(site.receive(weak[0]))[0] == "review"
    both = site.receive_all([(T1W, vector, None) for vector in weak])
    assert site.link(both)[0] == "linked"
    best, told = evidence_of(site, both)
    assert [(one.series_number, one.contrast) for one in told] == [(1, "T1w"), (2, "T1w")]
    assert all(one.llr < CALIBRATION.link_above < best.llr for one in told)
    assert best.llr == pytest.approx(combine([one.llr for one in told]))


def test_a_series_that_disagrees_leads_to_review(site):
    person = somebody()
    site.link(site.receive_all([(T1W, person, None), (T2W, person, None)]))
    swapped = site.receive_all([(T1W, again(person, 0.05), None), (T2W, somebody(), None)])
    verdict, patient, reasons = site.link(swapped)
    assert (verdict, patient) == ("review", None)
    assert "series_disagree" in reasons
    _, told = evidence_of(site, swapped)
    assert told[0].llr > CALIBRATION.link_above > CALIBRATION.new_below > told[1].llr


def test_a_poor_series_beside_a_good_one_does_not_count(site):
    person = somebody()
    site.link(site.receive(person))
    run = site.receive_all([(T1W, again(person), None), (T1W, somebody(), POOR)])
    assert site.link(run)[0] == "linked"
    assert [one.counted for one in evidence_of(site, run)[1]] == [True, False]


def test_a_study_of_poor_series_only_goes_to_review(site):
    person = somebody()
    site.link(site.receive(person))
    run = site.receive_all([(T1W, again(person), POOR), (T2W, again(person), POOR)])
    assert site.link(run)[2][0] == "low_quality"


def test_a_series_is_weighed_against_everybody_whom_another_series_is_near_to(site, monkeypatch):
    """Also where it finds others nearer: what speaks against somebody must not be missing."""
    monkeypatch.setattr(linking, "NEAREST", 1)
    anna, berta = somebody(), somebody()
    first = site.link(site.receive(anna))[1]
    site.link(site.receive(berta))
    mixed = site.receive_all([(T1W, again(anna, 0.05), None), (T1W, again(berta, 0.05), None)])
    verdict, _, reasons = site.link(mixed)
    assert (verdict, "series_disagree" in reasons) == ("review", True)
    best, told = evidence_of(site, mixed)
    assert (best.patient_id == first, len(told)) in {(True, 2), (False, 2)}


def test_a_refused_scan_is_no_evidence(site):
    person = somebody()
    site.link(site.receive(person))
    run = site.receive_all([(T1W, again(person), None), (T2W, somebody(), None)])
    rows(site.database, "update scan set verdict = 'fail' where contrast = 'T2w'")
    assert site.link(run)[0] == "linked"
    assert len(evidence_of(site, run)[1]) == 1


def test_evidence_once_given_is_never_changed(site):
    site.link(site.receive(somebody()))
    site.link(site.receive(somebody()))
    with pytest.raises(Exception, match="appended, never changed"):
        rows(site.database, "update decision_evidence set llr = 9")


def test_fingerprints_of_an_encoder_that_is_not_active_are_refused(site):
    run = site.receive(somebody())
    with pytest.raises(Misconfigured, match="encoder made-up is active here"):
        ingest.encode(site.settings, run)
    assert count(site.database, "fingerprint") == 1


def test_brains_that_were_aligned_in_another_way_are_not_mixed_with_new_ones(site):
    run = site.receive(somebody())
    shipped = open_encoder(None).version
    rows(site.database, "update encoder set version = %s", shipped)
    rows(site.database, "update bundle set preprocessing_version = '0'")
    with pytest.raises(Misconfigured, match="aligned by version 0") as caught:
        ingest.encode(site.settings, run)
    assert caught.value.code == "preprocessing_not_active"
    assert count(site.database, "fingerprint") == 1


def test_linking_twice_decides_once(site):
    run = site.receive(somebody())
    assert site.link(run) == site.link(run)
    assert count(site.database, "decision") == 1


def test_a_later_revision_stays_with_the_record_of_its_study(site):
    person = somebody()
    first = site.receive(person)
    patient = site.link(first)[1]
    later = site.receive(again(person, 0.05), study=1)
    assert (later.study_id, later.revision) == (first.study_id, 2)
    assert site.link(later)[:2] == ("new_patient", patient)
    assert count(site.database, "patient") == 1


def test_a_person_s_decision_is_never_replaced_by_the_machine(site):
    person = somebody()
    site.link(site.receive(person))
    run = site.receive(somebody())
    rows(
        site.database,
        "insert into decision (study_id, revision, verdict, patient_id, reasons, bundle_id, "
        "gallery_size, decided_by) values (%s, 1, 'linked', 1, '{}', 1, 1, 'reader 1')",
        run.study_id,
    )
    assert site.link(run)[0] == "linked"
    assert count(site.database, "decision") == 2


def test_first_studies_of_one_new_patient_at_the_same_time_make_one_patient(site):
    person = somebody()
    runs = [site.receive(again(person)) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        verdicts = [decision[0] for decision in pool.map(site.link, runs)]
    assert sorted(verdicts) == ["linked"] * 5 + ["new_patient"]
    assert count(site.database, "patient") == 1


def test_a_lost_gallery_file_changes_no_decision(site):
    people = [somebody() for _ in range(40)]
    for person in people:
        site.link(site.receive(person))
    (snapshot,) = site.settings.gallery_folder.glob("*.gallery")
    before = site.link(site.receive(again(people[3])))
    snapshot.write_bytes(b"damaged")
    after = site.link(site.receive(again(people[3])))
    assert before[:2] == after[:2]
    assert before[0] == "linked"


def test_a_study_that_cannot_be_used_ends_with_its_reason(site):
    def refuse(_):
        raise BadStudy("slices 3 to 5 are missing: send them again", code="missing_slices")

    run = site.receive(somebody())
    with pytest.raises(BadStudy):
        perform(site.settings, run, step="convert", reached=State.CONVERTED, work=refuse)
    found = rows(site.database, "select state, reason_code, reason from study_revision")
    assert found == [("rejected", "missing_slices", "slices 3 to 5 are missing: send them again")]


def test_trouble_that_may_pass_leaves_the_study_open_for_a_retry(site):
    def stumble(_):
        raise TryAgain("the disk is full: free space", code="disk_full")

    run = site.receive(somebody())
    with pytest.raises(TryAgain):
        perform(site.settings, run, step="convert", reached=State.CONVERTED, work=stumble)
    assert rows(site.database, "select state from study_revision") == [("queued",)]
    assert rows(site.database, "select outcome from step_run") == [("TryAgain",)]


def test_a_superseded_revision_is_not_worked_on(site):
    first = site.receive(somebody())
    site.receive(somebody(), study=1)
    with pytest.raises(NotApplicable, match="superseded"):
        ingest.link(site.settings, first)
    assert count(site.database, "decision") == 0


def test_a_run_of_a_study_that_does_not_exist_is_refused(site):
    with pytest.raises(Conflict, match="does not exist"):
        ingest.link(site.settings, StudyRevision(StudyId(999), 1))
