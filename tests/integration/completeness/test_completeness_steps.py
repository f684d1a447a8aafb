"""What modalities say of their procedure steps (MPPS) opens, holds and closes studies."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.database.procedure_steps import (
    StepState,
    end_procedure_step,
    insert_procedure_step,
    replace_procedure_step_instances,
)
from tests.integration.open_studies import reason, states

STEP = "1.2.3.4"


def begin_step(database: Database, study: str, step: str = STEP) -> None:
    with database.transaction() as connection:
        insert_procedure_step(connection, step, study_uid=study, calling_ae="SCANNER")


def end_step(
    database: Database,
    study: str,
    numbers: Iterable[int],
    *,
    series: int = 3,
    state: StepState = StepState.COMPLETED,
) -> None:
    names = [(f"{study}.{series}", f"{study}.{series}.{number}") for number in numbers]
    with database.transaction() as connection:
        replace_procedure_step_instances(connection, STEP, names)
        end_procedure_step(connection, STEP, state)


def test_a_procedure_step_in_progress_keeps_a_study_open_up_to_the_bound(
    send, later, closer, database
):
    begin_step(database, send(range(1, 6)))
    later(61)
    closer.close_due()
    assert states(database) == [("receiving", "", "procedure_in_progress")]
    later(901)
    closer.close_due()
    assert states(database) == [("queued", "waited", "procedure_in_progress")]


def test_an_ended_step_closes_a_study_at_once_whatever_its_numbers_look_like(
    send, closer, database
):
    study = send([1, 2, 4, 5])
    begin_step(database, study)
    end_step(database, study, [1, 2, 4, 5])
    closer.close_due()
    assert states(database) == [("queued", "procedure_step", "")]


def test_an_ended_step_waits_for_what_it_names(send, later, closer, database):
    study = send(range(1, 5))
    begin_step(database, study)
    end_step(database, study, range(1, 7))
    closer.close_due()
    assert states(database) == [("receiving", "", "")]
    later(61)
    closer.close_due()
    assert states(database) == [("receiving", "", "procedure_images_missing")]
    assert reason(database) == "the modality says that series 3 has 6 images, 4 are here"
    send([5, 6], study=study)
    closer.close_due()
    assert states(database) == [("queued", "procedure_step", "")]


def test_a_second_step_that_goes_on_keeps_the_study_open(send, closer, database):
    study = send(range(1, 5))
    begin_step(database, study)
    end_step(database, study, range(1, 5))
    begin_step(database, study, "1.2.3.5")
    closer.close_due()
    assert states(database) == [("receiving", "", "")]


@pytest.mark.parametrize(
    ("named", "state"), [([], StepState.COMPLETED), ([1, 2, 3], StepState.DISCONTINUED)]
)
def test_a_step_that_names_nothing_or_was_stopped_leaves_it_to_the_quiet_time(
    send, later, closer, database, *, named, state
):
    study = send(range(1, 4))
    begin_step(database, study)
    end_step(database, study, named, state=state)
    closer.close_due()
    assert states(database) == [("receiving", "", "")]
    later(61)
    closer.close_due()
    assert states(database) == [("queued", "quiet", "")]


def test_images_beyond_an_ended_step_open_one_revision_and_not_one_each(
    send, later, closer, database
):
    study = send(range(1, 5))
    begin_step(database, study)
    end_step(database, study, range(1, 5))
    closer.close_due()
    for number in range(1, 4):  # a workstation adds derived images
        send([number], study=study, series=900)
        closer.close_due()
    assert [state for state, *_ in states(database)] == ["queued", "receiving"]
    later(61)
    closer.close_due()
    assert [state for state, *_ in states(database)] == ["superseded", "queued"]
