"""Who asked what, and how much was told: reading identity leaves a row behind."""

from __future__ import annotations

import structlog

from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.connection import Database
from deepbrainprint.intake.finding.question import Question

log = structlog.get_logger()


def record_query(database: Database, question: Question, *, actor: str, answers: int) -> None:
    """Record that a question was answered: the keys that it compared, not their values.

    TryAgain when PostgreSQL does not answer.
    """
    log.info(
        "query_answered",
        actor=actor,
        level=str(question.level),
        keys=question.keys,
        answers=answers,
    )
    act = Act(
        actor=actor,
        act="queried",
        subject_kind="query",
        subject_id=str(question.level),
        details={"keys": question.keys, "answers": answers},
    )
    with database.transaction() as connection:
        record_act(connection, act)
