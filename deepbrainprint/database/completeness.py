"""When a study is complete: what is known of open studies, how they wait, and how they close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one
from deepbrainprint.records import StudyId, StudyRevision


@dataclass(frozen=True)
class Rhythm:
    """How a sender pauses: faded weight of its studies by their longest pause."""

    studies: int = 0  # how many were ever seen
    pauses: tuple[float, ...] = ()


@dataclass(frozen=True)
class OpenStudy:
    """A study that is receiving."""

    run: StudyRevision
    study_uid: str
    calling_ae: str  # that sent to it last
    last_instance_at: datetime
    quiet_seconds: float
    waited_seconds: float | None  # since it went quiet but looked incomplete
    checked_seconds: float | None  # since the last look, if no image has come after it
    is_asked_for: bool  # a person wants it processed now
    known_reason: str  # what the last look found
    known_quiet_reason: str
    procedure_agrees: bool  # a modality has ended its steps, and all that they name is here
    rhythm: Rhythm


@dataclass(frozen=True)
class ImagePlace:
    """What a header says of an instance's place in its series; None where it says nothing."""

    series_uid: str
    series_number: int | None
    series_instances: int | None
    instance_number: int | None
    slice_position: float | None  # mm along the slice normal
    is_image: bool
    is_deleted: bool


@dataclass(frozen=True)
class ProcedureSteps:
    """What modalities say of the procedure steps of a study."""

    in_progress: int
    ended: int
    named: int  # instances
    gaps: tuple[tuple[int | None, int, int], ...]  # series number, instances here, missing


@dataclass(frozen=True)
class Closing:
    """Why a study closes: a rule for programs, words for people; and what is missing, if known."""

    rule: str
    reason: str
    missing_code: str = ""
    missing_reason: str = ""


@dataclass(frozen=True)
class CompletenessReport:
    """How complete the newest revision of a study is."""

    revision: int
    state: str
    waiting_since: datetime | None
    waiting_until: datetime | None
    quiet_seconds: float | None
    quiet_reason: str
    missing_code: str
    missing_reason: str
    closing_rule: str
    closing_reason: str


@dataclass(frozen=True)
class CompletenessCounts:
    """How many studies look incomplete, and how many series came before."""

    waiting: int
    processed_incomplete: int
    duplicate_series: int


def open_studies(connection: Connection, *, study_id: StudyId | None = None) -> list[OpenStudy]:
    """Studies that are receiving, the quietest first."""
    return [_open(row) for row in fetch_all(connection, "open_studies", study_id=study_id)]


def image_places(connection: Connection, study_id: StudyId) -> list[ImagePlace]:
    """The instances of a study, by series and number."""
    return [ImagePlace(*row) for row in fetch_all(connection, "image_places", study_id=study_id)]


def announced_instances(connection: Connection, study_id: StudyId) -> int | None:
    """How many instances a header said the study has (0020,1208); None when none did."""
    row = fetch_one(connection, "announced_instances", study_id=study_id)
    return None if row is None else row[0]


def procedure_steps(connection: Connection, study_uid: str) -> ProcedureSteps:
    """What modalities say of a study's procedure steps (DICOM PS3.4 Annex F)."""
    counts = fetch_one(connection, "procedure_steps_in_progress", study_uid=study_uid)
    gaps = fetch_all(connection, "procedure_step_gaps", study_uid=study_uid)
    in_progress, ended, named = counts or (0, 0, 0)
    return ProcedureSteps(in_progress, ended, named, tuple((n, h, m) for n, h, m in gaps))


def close_study(
    connection: Connection,
    run: StudyRevision,
    closing: Closing,
    *,
    last_instance_at: datetime | None = None,
) -> bool:
    """Close a revision and queue it; older revisions of the study become superseded.

    False when it is closed already, is receiving at this moment, or has received since
    `last_instance_at`.
    """
    row = fetch_one(
        connection,
        "close_study",
        study_id=run.study_id,
        revision=run.revision,
        last_instance_at=last_instance_at,
        closing_rule=closing.rule,
        closing_reason=closing.reason,
        completeness_code=closing.missing_code,
        completeness_reason=closing.missing_reason,
    )
    return row is not None


def record_quiet_time(
    connection: Connection, run: StudyRevision, *, seconds: float, reason: str
) -> None:
    """Which quiet time applies to a study that is receiving, and why."""
    execute(
        connection,
        "record_quiet_time",
        study_id=run.study_id,
        revision=run.revision,
        quiet_seconds=seconds,
        quiet_reason=reason,
    )


def record_waiting(
    connection: Connection, run: StudyRevision, *, code: str, reason: str, wait_seconds: float
) -> None:
    """A quiet study looks incomplete and waits so long at most; `reason` without identity."""
    execute(
        connection,
        "record_waiting",
        study_id=run.study_id,
        revision=run.revision,
        completeness_code=code,
        completeness_reason=reason,
        wait_seconds=wait_seconds,
    )


def ask_to_close(connection: Connection, study_id: StudyId) -> StudyRevision | None:
    """Have the dispatcher close a study in its next round; None when it is not receiving."""
    row = fetch_one(connection, "ask_to_close", study_id=study_id)
    return None if row is None else StudyRevision(study_id, row[0])


def longest_pause(
    connection: Connection, run: StudyRevision, *, longest_seconds: float
) -> float | None:
    """Longest pause in seconds before an instance of a revision, late ones after a close included.

    Pauses longer than `longest_seconds` are left out; None when there is none at all.
    """
    row = fetch_one(
        connection,
        "longest_pause",
        study_id=run.study_id,
        revision=run.revision,
        longest_seconds=longest_seconds,
    )
    return None if row is None else row[0]


def learn_pause(
    connection: Connection, calling_ae: str, *, pauses: Sequence[float], fading: float
) -> None:
    """Add one study's `pauses` to a sender's; what was there before weighs `fading` as much."""
    execute(connection, "learn_pause", calling_ae=calling_ae, pauses=list(pauses), fading=fading)


def completeness_report(connection: Connection, study_id: StudyId) -> CompletenessReport | None:
    """How complete the newest revision of a study is; None when there is no such study."""
    row = fetch_one(connection, "completeness_report", study_id=study_id)
    return None if row is None else CompletenessReport(*row)


def completeness_counts(connection: Connection) -> CompletenessCounts:
    """How many studies look incomplete, and how many series came before."""
    row = fetch_one(connection, "completeness_counts")
    assert row is not None  # noqa: S101 — an aggregate always gives a row
    return CompletenessCounts(*row)


def _open(row: Row) -> OpenStudy:
    study_id, revision, *facts, studies, pauses = row
    rhythm = Rhythm(studies or 0, tuple(pauses or ()))
    return OpenStudy(StudyRevision(StudyId(study_id), revision), *[*facts, rhythm])
