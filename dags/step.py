"""The one shared task decorator: retries, time limits and the translation of our errors.

    NotApplicable                       skip: a normal end
    BadStudy, Misconfigured, Conflict   fail at once: a retry cannot help
    TryAgain, anything else             fail, and retry with growing pauses

What Airflow logs and keeps is our own one-line message. The text of a foreign exception may hold
what stood in a DICOM header, so only its type and the places it passed through are kept.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from deepbrainprint.errors import (
    BadStudy,
    Conflict,
    DeepBrainPrintError,
    Misconfigured,
    NotApplicable,
)

if TYPE_CHECKING:
    from deepbrainprint.records import StudyRevision
    from deepbrainprint.settings import Settings

    UseCase = Callable[[Settings, StudyRevision], StudyRevision]

RETRIES = 3


def step(task_id: str, *, minutes: float) -> Callable[[UseCase], Any]:
    """Make a task that takes a study revision as `study-<id>-r<revision>` and hands it on."""

    def decorate(use_case: UseCase) -> Any:
        def run(reference: str) -> str:
            return _carry_out(use_case, reference)

        run.__doc__ = use_case.__doc__
        return task(
            task_id=task_id,
            doc_md=use_case.__doc__,
            retries=RETRIES,
            retry_delay=timedelta(seconds=10),
            retry_exponential_backoff=3,
            max_retry_delay=timedelta(minutes=10),
            execution_timeout=timedelta(minutes=minutes),
        )(run)

    return decorate


def _carry_out(use_case: UseCase, reference: str) -> str:
    from deepbrainprint.records import StudyRevision
    from deepbrainprint.settings import load_settings

    try:
        revision = StudyRevision.parse(reference)
    except ValueError as error:
        raise AirflowFailException(f"{error}: let the dispatcher start the run") from None
    try:
        return str(use_case(load_settings(), revision))
    except DeepBrainPrintError as error:
        raise _translate(error) from None
    except Exception as error:  # noqa: BLE001 — a door: no foreign text may reach Airflow's log
        raise AirflowException(_trace(error)) from None


def _translate(error: DeepBrainPrintError) -> Exception:
    message = f"{error} [{error.code}]"
    if isinstance(error, NotApplicable):
        return AirflowSkipException(message)
    if isinstance(error, BadStudy | Misconfigured | Conflict):
        return AirflowFailException(message)
    return AirflowException(message)


def _trace(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)
    return f"unexpected {type(error).__name__} in {places}"
