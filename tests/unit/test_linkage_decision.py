from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbrainprint.linkage.decision import (
    CORRELATION,
    CORRELATION_AT_MOST,
    Circumstances,
    Policy,
    combine,
    decide,
    pool,
)
from deepbrainprint.records import FingerprintId, PatientId, Reason, ScanEvidence, Verdict

POLICY = Policy(link_above=6.0, new_below=0.0, close_margin=2.0, reference_gallery=100)


def candidate(
    patient: int, llr: float, *, scan: int = 1, counted: bool = True, same_contrast: bool = True
) -> ScanEvidence:
    ids = PatientId(patient), FingerprintId(1000 + scan), FingerprintId(patient)
    return ScanEvidence(*ids, 0.5, llr, same_contrast, counted)


def says(*llrs: float, patient: int = 1) -> list[ScanEvidence]:
    """One piece of evidence for each scan of the study."""
    return [candidate(patient, llr, scan=scan) for scan, llr in enumerate(llrs)]


def test_an_empty_gallery_makes_a_new_patient():
    decision = decide([], POLICY, Circumstances(gallery_size=0))
    assert decision.verdict is Verdict.NEW_PATIENT
    assert decision.reasons == (Reason.NO_CANDIDATE,)


def test_strong_evidence_for_one_patient_links():
    decision = decide([candidate(1, 9.0), candidate(2, -3.0)], POLICY, Circumstances(2))
    assert (decision.verdict, decision.patient_id) == (Verdict.LINKED, 1)
    assert Reason.HEADER_DIFFERS in decision.reasons


def test_evidence_between_the_thresholds_goes_to_a_person():
    decision = decide([candidate(1, 3.0)], POLICY, Circumstances(1))
    assert decision.verdict is Verdict.REVIEW
    assert decision.reasons[0] is Reason.BETWEEN_THRESHOLDS
    assert decision.patient_id is None


def test_two_patients_who_are_about_as_likely_go_to_a_person():
    decision = decide([candidate(1, 9.0), candidate(2, 8.0)], POLICY, Circumstances(2))
    assert decision.verdict is Verdict.REVIEW
    assert Reason.TWO_CLOSE_CANDIDATES in decision.reasons


def test_a_header_that_names_another_known_patient_goes_to_a_person():
    around = Circumstances(2, same_header={PatientId(2)})
    decision = decide([candidate(1, 9.0), candidate(2, -3.0)], POLICY, around)
    assert decision.verdict is Verdict.REVIEW
    assert Reason.IDENTITY_CONFLICT in decision.reasons


def test_a_known_header_with_an_unknown_brain_goes_to_a_person():
    around = Circumstances(1, same_header={PatientId(1)})
    decision = decide([candidate(1, -4.0)], POLICY, around)
    assert decision.reasons == (Reason.IDENTITY_CONFLICT,)


def test_a_scan_of_low_quality_is_never_decided_by_the_machine():
    decision = decide([candidate(1, 20.0)], POLICY, Circumstances(1, low_quality=True))
    assert decision.verdict is Verdict.REVIEW


def test_a_larger_gallery_asks_for_more_evidence():
    strong = [candidate(1, 6.5)]
    assert decide(strong, POLICY, Circumstances(100)).verdict is Verdict.LINKED
    assert decide(strong, POLICY, Circumstances(1000)).verdict is Verdict.REVIEW


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_scan_of_each_patient_counts_in_any_order(order):
    found = pool([candidate(1, 1.0), candidate(1, 5.0), candidate(2, 3.0)][::order])
    assert [(c.patient_id, c.llr) for c in found] == [(1, 5.0), (2, 3.0)]


@given(st.lists(st.floats(-50, -6), max_size=30))
def test_adding_people_who_are_far_away_changes_no_verdict(far):
    near = [candidate(1, 9.0)]
    others = [candidate(number + 2, llr) for number, llr in enumerate(far)]
    alone = decide(near, POLICY, Circumstances(50))
    among = decide(near + others, POLICY, Circumstances(50))
    assert (alone.verdict, alone.patient_id) == (among.verdict, among.patient_id)


LLRS = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


@given(LLRS)
def test_the_scans_of_a_visit_together_say_no_less_than_their_mean_and_no_more_than_their_sum(llrs):
    together, mean, total = combine(llrs), sum(llrs) / len(llrs), sum(llrs)
    assert min(mean, total) - 1e-9 <= together <= max(mean, total) + 1e-9
    assert together >= mean - 1e-9


@given(LLRS)
def test_the_order_of_the_scans_does_not_matter(llrs):
    assert combine(llrs) == pytest.approx(combine(llrs[::-1]))


@given(LLRS, st.integers(0, 5), st.floats(0, 5))
def test_a_scan_that_speaks_more_for_somebody_never_lowers_the_evidence(llrs, which, more):
    raised = [llr + more * (place == which) for place, llr in enumerate(llrs)]
    assert combine(raised) >= combine(llrs) - 1e-9


def test_one_scan_speaks_for_itself():
    assert [combine([llr]) for llr in (7.5, -3.0, 0.0)] == [7.5, -3.0, 0.0]


def test_scans_that_agree_add_what_their_correlation_leaves():
    assert 4.0 < combine([4.0, 4.0]) < 8.0
    assert combine([4.0, 4.0]) == pytest.approx(8 / (1 + CORRELATION_AT_MOST))
    assert combine([6.0, 3.5]) == pytest.approx(9.5 / (1 + CORRELATION))


def test_evidence_against_is_not_heaped_up():
    assert combine([-3.0, -3.0, -3.0]) == pytest.approx(-3.0)


@pytest.mark.parametrize("scans", [2, 3, 6])
def test_strangers_are_linked_no_more_often_by_several_scans_than_by_one(scans):
    """Ratios of strangers, calibrated and correlated as at the upper end of what was measured."""
    rng, spread, shared = np.random.default_rng(scans), 2.4, CORRELATION_AT_MOST
    common = rng.normal(size=(400_000, 1)) * np.sqrt(shared)
    own = rng.normal(size=(400_000, scans)) * np.sqrt(1 - shared)
    ratios = -(spread**2) / 2 + spread * (common + own)
    total = ratios.sum(axis=1)
    joint = np.where(total <= 0, ratios.mean(axis=1), 0)
    most = ratios.max(axis=1) * scans / (1 + (scans - 1) * CORRELATION_AT_MOST)
    joint = np.where(total > 0, np.minimum(total / (1 + (scans - 1) * CORRELATION), most), joint)
    assert joint[:50] == pytest.approx([combine(row) for row in ratios[:50].tolist()])
    for bar in (2.0, 4.0, 5.6):  # a calibrated ratio exceeds x for strangers in at most e^-x
        assert (joint > bar).mean() <= np.exp(-bar)


def test_two_scans_that_agree_link_where_each_alone_would_not():
    assert decide(says(5.8), POLICY, Circumstances(1)).verdict is Verdict.REVIEW
    linked = decide(says(5.8, 5.8), POLICY, Circumstances(1))
    assert (linked.verdict, len(linked.candidates[0].evidence)) == (Verdict.LINKED, 2)


def test_a_scan_that_contradicts_the_others_goes_to_a_person():
    decision = decide(says(20.0, 20.0, -4.0), POLICY, Circumstances(1))
    assert decision.candidates[0].llr > POLICY.link_above
    assert (decision.verdict, decision.reasons[0]) == (Verdict.REVIEW, Reason.SERIES_DISAGREE)


@pytest.mark.parametrize("others", [(-9.0,), (-9.0, -9.0, -9.0)])
def test_one_scan_that_knows_somebody_is_not_outvoted_into_a_new_patient(others):
    decision = decide(says(8.0, *others), POLICY, Circumstances(1))
    assert decision.candidates[0].llr < POLICY.link_above
    assert (decision.verdict, decision.reasons[0]) == (Verdict.REVIEW, Reason.SERIES_DISAGREE)


def test_a_scan_of_low_quality_beside_a_good_one_is_listed_but_does_not_count():
    evidence = [candidate(1, 9.0), candidate(1, -8.0, scan=2, counted=False)]
    decision = decide(evidence, POLICY, Circumstances(1))
    assert (decision.verdict, decision.candidates[0].llr) == (Verdict.LINKED, 9.0)
    assert [one.counted for one in decision.candidates[0].evidence] == [True, False]


def test_each_scan_of_the_study_speaks_once_by_the_nearest_scan_of_the_patient():
    evidence = [*says(2.0, 3.0), *says(7.0, -5.0)]
    (found,) = pool(evidence)
    assert [one.llr for one in found.evidence] == [7.0, 3.0]
    assert found.llr == pytest.approx(combine([7.0, 3.0]))


def test_more_scans_in_the_gallery_ask_for_more_evidence():
    alone = decide(says(6.5), POLICY, Circumstances(100, comparisons=100))
    crowded = decide(says(6.5), POLICY, Circumstances(100, comparisons=600))
    assert (alone.verdict, crowded.verdict) == (Verdict.LINKED, Verdict.REVIEW)
