from __future__ import annotations

import pytest

from deepbrainprint.errors import (
    BadStudy,
    Conflict,
    DeepBrainPrintError,
    Misconfigured,
    NotApplicable,
    TryAgain,
)
from deepbrainprint.records import HeaderIdentity, StudyId, StudyRevision


def test_a_run_id_reads_back_as_the_revision_it_names():
    run = StudyRevision(StudyId(12), 3)
    assert str(run) == "study-12-r3"
    assert StudyRevision.parse(str(run)) == run


@pytest.mark.parametrize(
    "text", ["study-0-r1", "study-1-r0", "study-1", "x study-1-r1", "study-1-r1\n"]
)
def test_anything_else_is_no_run_id(text):
    with pytest.raises(ValueError, match="a run id reads"):
        StudyRevision.parse(text)


def test_identity_does_not_show_in_a_traceback():
    assert "DOE" not in repr(HeaderIdentity(patient_id="17", name="DOE^JANE"))


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(BadStudy, 3), (NotApplicable, 3), (TryAgain, 4), (Misconfigured, 5), (Conflict, 1)],
)
def test_each_kind_of_error_has_its_exit_code(error, exit_code):
    assert error.exit_code == exit_code
    assert issubclass(error, DeepBrainPrintError)


def test_an_error_without_words_says_what_its_class_says():
    assert str(TryAgain()) == "A resource is away for now; the same call may succeed in a minute."
    assert TryAgain().code == "TryAgain"
