"""What a step's error becomes for Airflow, and what of it Airflow may see."""

from __future__ import annotations

import pytest

airflow_exceptions = pytest.importorskip("airflow.sdk.exceptions")

import step  # noqa: E402 — after Airflow is known to be there

from deepbrainprint.errors import BadStudy, Misconfigured, NotApplicable, TryAgain  # noqa: E402


def failing(error):
    def use_case(_settings, _run):
        raise error

    return use_case


def outcome(error):
    with pytest.raises(airflow_exceptions.AirflowException) as caught:
        step._carry_out(failing(error), "study-7-r2")
    return caught.value


def test_a_step_hands_its_reference_on() -> None:
    assert step._carry_out(lambda _settings, run: run, "study-7-r2") == "study-7-r2"


def test_a_study_without_a_brain_skips_the_rest() -> None:
    found = outcome(NotApplicable("no brain here", code="no_brain"))
    assert type(found) is airflow_exceptions.AirflowSkipException
    assert str(found) == "no brain here [no_brain]"


@pytest.mark.parametrize("error", [BadStudy("broken"), Misconfigured("set it")])
def test_what_a_retry_cannot_help_fails_at_once(error) -> None:
    assert type(outcome(error)) is airflow_exceptions.AirflowFailException


@pytest.mark.parametrize("error", [TryAgain("database away"), RuntimeError("what?")])
def test_what_may_pass_is_left_to_the_retries(error) -> None:
    assert type(outcome(error)) is airflow_exceptions.AirflowException


def test_the_text_of_a_foreign_error_stays_out_of_the_log() -> None:
    found = outcome(ValueError("DOE^JANE 19700101"))
    assert "DOE" not in str(found)
    assert str(found).startswith("unexpected ValueError in _carry_out")
    assert found.__suppress_context__


def test_a_run_that_a_person_started_by_hand_is_refused() -> None:
    with pytest.raises(airflow_exceptions.AirflowFailException, match="dispatcher"):
        step._carry_out(lambda _settings, run: run, "manual__2026-01-01")
