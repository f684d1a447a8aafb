"""What people ask of the database; nothing here says who a patient is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import fetch_all, fetch_one
from deepbrainprint.records import StudyId, Verdict


@dataclass(frozen=True)
class StudyReport:
    """One line of `deepbrainprint studies`."""

    study_id: int
    revision: int
    state: str
    reason_code: str
    reason: str
    instances: int
    calling_ae: str
    first_instance_at: datetime
    last_instance_at: datetime
    closed_at: datetime | None
    ended_at: datetime | None
    verdict: str | None
    patient_id: int | None
    reasons: list[str] | None


@dataclass(frozen=True)
class StepReport:
    """One step of one run: when, how long, and how it went."""

    revision: int
    step: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    reason_code: str
    reason: str


@dataclass(frozen=True)
class SeriesReport:
    """What one series was taken for, why, and what became of it."""

    series_number: int
    contrast: str
    usable: bool
    chosen: bool
    confidence: float
    reason: str
    instance_count: int
    verdict: str | None  # pass, flag or fail; None: not looked at
    verdict_code: str
    verdict_reasons: list[str]


@dataclass(frozen=True)
class LinkReport:
    """One decision that counts."""

    decision_id: int
    study_id: int
    revision: int
    verdict: str
    patient_id: int | None
    reasons: list[str]
    gallery_size: int
    decided_by: str
    decided_at: datetime
    bundle_id: int
    encoder_version: str


@dataclass(frozen=True)
class CandidateReport:
    """Whom a decision compared with."""

    rank: int
    patient_id: int
    similarity: float
    llr: float
    same_contrast: bool


@dataclass(frozen=True)
class EvidenceReport:
    """What one scan of a study said of one candidate, by series numbers."""

    rank: int
    series_number: int
    contrast: str
    known_study_id: int
    known_series_number: int
    known_contrast: str
    similarity: float
    llr: float
    same_contrast: bool
    counted: bool


@dataclass(frozen=True)
class BacklogReport:
    """How much waits where."""

    receiving: int
    queued: int
    running: int
    failed: int
    quarantined: int
    in_review: int
    oldest_waiting_seconds: float | None
    last_dispatch_error: str | None


def study_reports(
    connection: Connection, *, study_id: StudyId | None = None, limit: int = 100
) -> list[StudyReport]:
    """Studies with their newest revision and the decision that counts, newest first."""
    rows = fetch_all(connection, "study_reports", study_id=study_id, limit=limit)
    return [StudyReport(*row) for row in rows]


def step_reports(connection: Connection, study_id: StudyId) -> list[StepReport]:
    """Timeline of one study."""
    return [StepReport(*row) for row in fetch_all(connection, "step_reports", study_id=study_id)]


def series_reports(connection: Connection, study_id: StudyId) -> list[SeriesReport]:
    """What each series of a study's newest revision was taken for."""
    rows = fetch_all(connection, "series_reports", study_id=study_id)
    return [SeriesReport(*row) for row in rows]


def link_reports(
    connection: Connection,
    *,
    verdict: Verdict | None = None,
    study_id: StudyId | None = None,
    limit: int = 100,
) -> list[LinkReport]:
    """Decisions that count, newest first."""
    rows = fetch_all(connection, "link_reports", verdict=verdict, study_id=study_id, limit=limit)
    return [LinkReport(*row) for row in rows]


def candidate_reports(connection: Connection, decision_id: int) -> list[CandidateReport]:
    """Whom a decision compared with, best first."""
    rows = fetch_all(connection, "candidate_reports", decision_id=decision_id)
    return [CandidateReport(*row) for row in rows]


def evidence_reports(connection: Connection, decision_id: int) -> list[EvidenceReport]:
    """What each scan of the study said of each candidate, the best candidate first."""
    rows = fetch_all(connection, "evidence_reports", decision_id=decision_id)
    return [EvidenceReport(*row) for row in rows]


def backlog_report(connection: Connection) -> BacklogReport:
    """How much waits where."""
    row = fetch_one(connection, "backlog_report")
    assert row is not None  # noqa: S101 — an aggregate always gives a row
    return BacklogReport(*row)
