"""What scanners say of their performed procedure steps (MPPS): when a study begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_one


class StepState(StrEnum):
    """Where a performed procedure step stands (PS3.3 C.4.14, in our words)."""

    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"


def insert_procedure_step(
    connection: Connection, procedure_step_uid: str, *, study_uid: str, calling_ae: str
) -> bool:
    """A scanner has begun a step; False when the step is known."""
    inserted = execute(
        connection,
        "insert_procedure_step",
        procedure_step_uid=procedure_step_uid,
        study_uid=study_uid,
        calling_ae=calling_ae,
    )
    return inserted > 0


def procedure_step_state(connection: Connection, procedure_step_uid: str) -> StepState | None:
    """Where a step stands, or None when nobody knows it; it is locked until commit."""
    row = fetch_one(connection, "procedure_step_state", procedure_step_uid=procedure_step_uid)
    return None if row is None else StepState(row[0])


def end_procedure_step(connection: Connection, procedure_step_uid: str, state: StepState) -> None:
    """A scanner is done with a step, or has stopped it."""
    execute(connection, "end_procedure_step", procedure_step_uid=procedure_step_uid, state=state)


def replace_procedure_step_instances(
    connection: Connection, procedure_step_uid: str, instances: Sequence[tuple[str, str]]
) -> None:
    """What a step has made, as pairs of series and SOP Instance UID; replaces what was said."""
    execute(connection, "forget_procedure_step_instances", procedure_step_uid=procedure_step_uid)
    execute(
        connection,
        "insert_procedure_step_instances",
        procedure_step_uid=procedure_step_uid,
        series_uids=[series_uid for series_uid, _ in instances],
        sop_instance_uids=[sop_instance_uid for _, sop_instance_uid in instances],
    )
