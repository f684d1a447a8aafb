from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbrainprint.linkage.decision import Circumstances, Policy, decide, pool
from deepbrainprint.records import Candidate, FingerprintId, PatientId, Reason, Verdict

POLICY = Policy(link_above=6.0, new_below=0.0, close_margin=2.0, reference_gallery=100)


def candidate(patient: int, llr: float, *, same_contrast: bool = True) -> Candidate:
    return Candidate(PatientId(patient), FingerprintId(patient), 0.5, llr, same_contrast)


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
