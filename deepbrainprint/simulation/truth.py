"""What is true of a simulated study, and whether what was decided of it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepbrainprint.records import PatientId, State, Verdict


@dataclass(frozen=True)
class Truth:
    """What is right for one study, as plain data.

    `person` is None where there is no brain. A study is right when it is decided with one of
    `verdicts` and, where `same_as` names an earlier study, with that study's patient: the linked
    one, or in review the first candidate. No verdicts: it must end as `not_applicable`.
    """

    person: int | None
    verdicts: frozenset[Verdict] = frozenset()
    same_as: int | None = None
    revision: int = 1  # the last one there must be

    def __str__(self) -> str:
        if self.person is None:
            return "no brain"
        who = f"person {self.person}"
        return f"{who}, known from study {self.same_as}" if self.same_as else f"{who}, new"


@dataclass(frozen=True)
class Outcome:
    """What became of one study, at its last revision."""

    state: State
    revision: int
    verdict: Verdict | None = None
    patient_id: PatientId | None = None  # linked, or newly made
    first_candidate: PatientId | None = None


def is_right(truth: Truth, outcome: Outcome, *, patient_of: Mapping[int, PatientId]) -> bool:
    """Whether a study ended as it should; `patient_of` gives the patients of the studies before."""
    if outcome.revision != truth.revision:
        return False
    if not truth.verdicts:
        return outcome.state is State.NOT_APPLICABLE
    if outcome.state is not State.DECIDED or outcome.verdict not in truth.verdicts:
        return False
    if truth.same_as is None:
        return outcome.patient_id is not None and outcome.patient_id not in patient_of.values()
    found = outcome.patient_id if outcome.verdict is Verdict.LINKED else outcome.first_candidate
    return found is not None and found == patient_of.get(truth.same_as)
