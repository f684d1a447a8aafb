"""Modality Performed Procedure Step (DICOM PS3.4 Annex F): scanners say when a study is done.

Only UIDs and the state are read; who the patient is, which a step says too, is left alone. Nothing
that we do not need is required of a scanner. While PostgreSQL is away the answer is 0x0213, and the
scanner keeps the step and says it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import structlog
from pydicom import Dataset
from pynetdicom import evt

from deepbrainprint.database.connection import Database
from deepbrainprint.database.procedure_steps import (
    StepState,
    end_procedure_step,
    insert_procedure_step,
    procedure_step_state,
    replace_procedure_step_instances,
)
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.header import is_valid_uid
from deepbrainprint.intake.logs import place_of

log = structlog.get_logger()

PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"

# PS3.7 Annex C, PS3.4 Table F.7.2-2
_SUCCESS, _PROCESSING_FAILURE = 0x0000, 0x0110
_STATUSES = {
    "invalid_value": 0x0106,
    "duplicate_step": 0x0111,
    "unknown_step": 0x0112,
    "missing_attribute": 0x0120,
    "missing_value": 0x0121,
    "step_has_ended": _PROCESSING_FAILURE,
}
_NO_LONGER_UPDATED = 0xA710  # (0000,0903) Error ID beside 0x0110
_RESOURCE_LIMITATION = 0x0213

_STATES = {
    "IN PROGRESS": StepState.IN_PROGRESS,
    "COMPLETED": StepState.COMPLETED,
    "DISCONTINUED": StepState.DISCONTINUED,
}

_Answer = tuple[Dataset, Dataset | None]  # status, attribute list


@dataclass(frozen=True)
class _Step:
    """What we read of a message; None: it says nothing of it."""

    uid: str
    state: StepState | None
    study_uid: str | None
    instances: list[tuple[str, str]] | None  # series UID, SOP Instance UID


class ProcedureSteps:
    """EVT_N_CREATE and EVT_N_SET of one process. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, event: evt.Event) -> _Answer:
        """The answer to an N-CREATE: a step that is in progress, once it is committed."""
        return _answered(self._create, event)

    def set(self, event: evt.Event) -> _Answer:
        """The answer to an N-SET: what was made, and the end of the step, once committed."""
        return _answered(self._set, event)

    def _create(self, event: evt.Event) -> Dataset | None:
        named = event.request.AffectedSOPInstanceUID  # type: ignore[union-attr]
        step = _read(str(named or f"2.25.{uuid4().int}"), event.attribute_list)
        if step.state is None:
            raise _refused("Performed Procedure Step Status is missing", "missing_attribute")
        if step.state is not StepState.IN_PROGRESS:
            raise _refused("a new procedure step is IN PROGRESS", "invalid_value")
        if step.study_uid is None:
            raise _refused("Scheduled Step Attributes Sequence is missing", "missing_attribute")
        calling_ae = str(event.assoc.requestor.primitive.calling_ae_title).strip()  # type: ignore[union-attr]
        with self._database.transaction() as connection:
            if not insert_procedure_step(
                connection, step.uid, study_uid=step.study_uid, calling_ae=calling_ae
            ):
                raise _refused("this procedure step exists", "duplicate_step")
            replace_procedure_step_instances(connection, step.uid, step.instances or [])
        log.info("procedure_step_started", ae=calling_ae)
        return None if named else _named(step.uid)

    def _set(self, event: evt.Event) -> None:
        uid = str(event.request.RequestedSOPInstanceUID)  # type: ignore[union-attr]
        step = _read(uid, event.modification_list)
        with self._database.transaction() as connection:
            state = procedure_step_state(connection, uid)
            if state is None:
                raise _refused("this procedure step is not known", "unknown_step")
            if state is not StepState.IN_PROGRESS:
                raise _refused(
                    "Performed Procedure Step Object may no longer be updated", "step_has_ended"
                )
            if step.instances is not None:
                replace_procedure_step_instances(connection, uid, step.instances)
            if step.state in {StepState.COMPLETED, StepState.DISCONTINUED}:
                end_procedure_step(connection, uid, step.state)
        log.info(
            "procedure_step_set",
            state=step.state or state,
            instances=None if step.instances is None else len(step.instances),
        )


def _answered(act: Callable[[evt.Event], Dataset | None], event: evt.Event) -> _Answer:
    """What to answer; no exception reaches the association."""
    try:
        attributes = act(event)
    except BadStudy as error:
        log.warning("procedure_step_refused", code=error.code, reason=str(error))
        return _status(_STATUSES[error.code], error), None
    except TryAgain as error:
        log.warning("procedure_step_refused", code=error.code, reason=str(error))
        return _status(_RESOURCE_LIMITATION, error), None
    except Exception as error:  # noqa: BLE001 — a message must not end an association
        log.error("procedure_step_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
        return _status(_PROCESSING_FAILURE), None
    return _status(_SUCCESS), attributes


def _read(uid: str, attributes: Dataset) -> _Step:
    """What a message says. BadStudy with a code of `_STATUSES`."""
    if not is_valid_uid(uid):
        raise _refused("the SOP Instance UID is no UID", "invalid_value")
    try:
        return _Step(uid, _state(attributes), _study_uid(attributes), _instances(attributes))
    except BadStudy:
        raise
    except Exception:  # noqa: BLE001 — pydicom's decoders raise whatever a bad byte leads them to
        raise _refused("the attributes cannot be read", "invalid_value") from None


def _state(attributes: Dataset) -> StepState | None:
    if "PerformedProcedureStepStatus" not in attributes:
        return None
    words = str(attributes.PerformedProcedureStepStatus or "").strip()
    if words not in _STATES:
        raise _refused("Performed Procedure Step Status is none of the standard", "invalid_value")
    return _STATES[words]


def _study_uid(attributes: Dataset) -> str | None:
    """The study of the first scheduled step: what a scanner makes in one step is one study."""
    if "ScheduledStepAttributesSequence" not in attributes:
        return None
    steps = attributes.ScheduledStepAttributesSequence
    uid = str(steps[0].get("StudyInstanceUID") or "") if steps else ""
    if not uid:
        raise _refused("Study Instance UID of the scheduled step is missing", "missing_value")
    if not is_valid_uid(uid):
        raise _refused("Study Instance UID of the scheduled step is no UID", "invalid_value")
    return uid


def _instances(attributes: Dataset) -> list[tuple[str, str]] | None:
    if "PerformedSeriesSequence" not in attributes:
        return None
    pairs = (
        (str(series.get("SeriesInstanceUID", "")), uid)
        for series in attributes.PerformedSeriesSequence or []
        for uid in _referenced(series)
    )
    # Storage refuses what is no UID; such an object is in quarantine and not to be waited for.
    return [pair for pair in dict.fromkeys(pairs) if all(map(is_valid_uid, pair))]


def _referenced(series: Dataset) -> Iterator[str]:
    for name in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence"):
        for item in series.get(name) or []:
            yield str(item.get("ReferencedSOPInstanceUID", ""))


def _refused(words: str, code: str) -> BadStudy:
    return BadStudy(words, code=code)


def _named(uid: str) -> Dataset:
    attributes = Dataset()
    attributes.AffectedSOPInstanceUID = uid
    return attributes


def _status(number: int, error: Exception | None = None) -> Dataset:
    status = Dataset()
    status.Status = number
    if error is not None:
        status.ErrorComment = str(error)[:64]  # PS3.7 Annex C: LO, 64 characters
    if isinstance(error, BadStudy) and error.code == "step_has_ended":
        status.ErrorID = _NO_LONGER_UPDATED
    return status
