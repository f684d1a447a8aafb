"""Walks through all answers to a question with a bounded part of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.finding import (
    FoundInstance,
    FoundSeries,
    FoundStudy,
    Page,
    find_instances,
    find_series,
    find_studies,
)
from deepbrainprint.intake.finding.attributes import Level
from deepbrainprint.intake.finding.question import Question

_PAGE = 500  # answers held at one time


def search(
    database: Database, question: Question, *, most: int, offset: int = 0
) -> Iterator[FoundStudy]:
    """At most `most` answers, newest first.

    No connection is held between pages, however slow the peer is. TryAgain when PostgreSQL does
    not answer.
    """
    page = Page(limit=min(most, _PAGE), offset=offset, with_counts=question.with_counts)
    while page.limit:
        with database.statement() as connection:
            found = _find(connection, question, page)
        yield from found
        most -= len(found)
        if len(found) < page.limit:
            return
        page = _behind(page, found[-1], most)


def _find(connection: Connection, question: Question, page: Page) -> list[FoundStudy]:
    match question.level:
        case Level.STUDY:
            return find_studies(connection, question.sought, page)
        case Level.SERIES:
            return [*find_series(connection, question.sought, page)]
        case Level.IMAGE:
            return [*find_instances(connection, question.sought, page)]
        case _:
            assert_never(question.level)


def _behind(page: Page, last: FoundStudy, most: int) -> Page:
    return replace(
        page,
        limit=min(most, _PAGE),
        offset=0,
        before_study=last.study_id,
        before_series=last.series_uid if isinstance(last, FoundSeries) else None,
        before_instance=last.instance_id if isinstance(last, FoundInstance) else None,
    )
