"""The demo's cast and plot, and how its outcomes are judged."""

from __future__ import annotations

import dataclasses

import pydicom
import pytest

from deepbrainprint.records import Contrast, PatientId, State, Verdict
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.scenario import (
    LATE_SLICES,
    Part,
    Send,
    Wait,
    demo_scenario,
    files_of,
)
from deepbrainprint.simulation.truth import Outcome, Truth, is_right

ANNA, BERT = PatientId(1), PatientId(2)
AGAIN = Truth(1, frozenset({Verdict.LINKED}), same_as=1)
PERHAPS = Truth(1, frozenset({Verdict.LINKED, Verdict.REVIEW}), same_as=1)
FIRST = Truth(2, frozenset({Verdict.NEW_PATIENT}))
NO_BRAIN = Truth(None)


def decided(verdict, *, patient=None, first=None, revision=1) -> Outcome:
    return Outcome(State.DECIDED, revision, verdict, patient, first)


@pytest.fixture(scope="module")
def scenario():
    return demo_scenario(3)


def test_the_cast_is_six_people_and_a_bottle_in_ten_studies(scenario):
    people = {study.truth.person for study in scenario.studies}
    assert people == {1, 2, 3, 4, 5, 6, None}
    assert [study.number for study in scenario.studies] == list(range(1, 11))
    assert len({study.study_uid for study in scenario.studies}) == 10


def test_every_study_is_sent_and_waited_for(scenario):
    sent = {step.number for step in scenario.steps if isinstance(step, Send)}
    waited = {step.number for step in scenario.steps if isinstance(step, Wait)}
    assert sent == waited == set(range(1, 11))


def test_a_second_visit_goes_out_after_the_first_is_decided(scenario):
    for study in scenario.studies:
        if study.truth.same_as is not None:
            sent = min(
                i
                for i, s in enumerate(scenario.steps)
                if isinstance(s, Send) and s.number == study.number
            )
            assert Wait(study.truth.same_as) in scenario.steps[:sent]


def test_late_images_go_out_after_the_rest_was_decided(scenario):
    (late,) = (s for s in scenario.steps if isinstance(s, Send) and s.part is Part.LATE)
    position = scenario.steps.index(late)
    assert Wait(late.number) in scenario.steps[:position]
    assert Wait(late.number, revision=2) in scenario.steps[position:]
    assert scenario.study(late.number).truth.revision == 2


def test_one_study_is_sent_twice_and_stays_one_revision(scenario):
    whole = [s.number for s in scenario.steps if isinstance(s, Send) and s.part is Part.ALL]
    (twice,) = {number for number in whole if whole.count(number) == 2}
    assert scenario.study(twice).truth.revision == 1


def test_one_visit_has_another_id_and_one_another_contrast(scenario):
    seconds = [study for study in scenario.studies if study.truth.same_as]
    assert [study.other_id for study in seconds].count(True) == 1
    assert [study.protocol.contrast for study in seconds].count(Contrast.T2W) == 1


def test_parts_make_up_the_whole(tmp_path):
    files = [tmp_path / str(number) for number in range(20)]
    late = files_of(files, Part.LATE)
    assert [*files_of(files, Part.ON_TIME), *late] == files_of(files, Part.ALL)
    assert len(late) == LATE_SLICES


def test_the_same_person_has_one_birth_date_and_perhaps_two_ids(scenario, tmp_path):
    coarse = Protocol(voxel_mm=(8, 8, 8))
    pair = [dataclasses.replace(scenario.study(n), protocol=coarse) for n in (2, 9)]
    first, second = (pydicom.dcmread(s.write(tmp_path / str(s.number))[0]) for s in pair)
    assert first.PatientBirthDate == second.PatientBirthDate
    assert first.PatientID != second.PatientID
    assert first.StudyInstanceUID == pair[0].study_uid


def test_the_bottle_is_labelled_as_a_brain(scenario, tmp_path):
    bottle = dataclasses.replace(scenario.study(7), protocol=Protocol(voxel_mm=(8, 8, 2.4)))
    header = pydicom.dcmread(bottle.write(tmp_path)[0])
    assert "MPRAGE" in header.SeriesDescription
    assert header.BodyPartExamined == "HEAD"


@pytest.mark.parametrize(
    ("truth", "outcome"),
    [
        (AGAIN, decided(Verdict.LINKED, patient=ANNA)),
        (PERHAPS, decided(Verdict.REVIEW, first=ANNA)),
        (FIRST, decided(Verdict.NEW_PATIENT, patient=BERT)),
        (NO_BRAIN, Outcome(State.NOT_APPLICABLE, 1)),
    ],
)
def test_right_outcomes_are_right(truth, outcome):
    assert is_right(truth, outcome, patient_of={1: ANNA})


@pytest.mark.parametrize(
    ("truth", "outcome"),
    [
        (AGAIN, decided(Verdict.LINKED, patient=BERT)),
        (AGAIN, decided(Verdict.REVIEW, first=ANNA)),
        (AGAIN, decided(Verdict.NEW_PATIENT, patient=BERT)),
        (AGAIN, decided(Verdict.LINKED, patient=ANNA, revision=2)),
        (AGAIN, Outcome(State.FAILED, 1)),
        (PERHAPS, decided(Verdict.REVIEW, first=BERT)),
        (PERHAPS, decided(Verdict.REVIEW)),
        (FIRST, decided(Verdict.LINKED, patient=ANNA)),
        (FIRST, decided(Verdict.NEW_PATIENT, patient=ANNA)),
        (NO_BRAIN, decided(Verdict.NEW_PATIENT, patient=BERT)),
        (NO_BRAIN, Outcome(State.FAILED, 1)),
    ],
)
def test_wrong_outcomes_are_wrong(truth, outcome):
    assert not is_right(truth, outcome, patient_of={1: ANNA})
