"""What `studies N` and `status` say of completeness, duplicate series and the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deepbrainprint.cli.output import console
from deepbrainprint.database.completeness import (
    CompletenessCounts,
    CompletenessReport,
    completeness_counts,
    completeness_report,
)
from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.duplicates import DuplicateSeries, duplicates_of
from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.intake.closing.completeness import series_name
from deepbrainprint.intake.closing.rhythm import spoken
from deepbrainprint.intake.disk import DiskState
from deepbrainprint.intake.forecast import Forecast, forecast
from deepbrainprint.records import StudyId
from deepbrainprint.settings import Settings


@dataclass(frozen=True)
class Upkeep:
    """What looks incomplete, what came before, and how long the disk lasts."""

    counts: CompletenessCounts
    disk: Forecast


def completeness_of(connection: Connection, study_id: StudyId) -> dict[str, Any]:
    """How complete a study is, which quiet time applies, and which of its series came before."""
    report = completeness_report(connection, study_id)
    return {
        "completeness": report and vars(report),
        "duplicate_series": [vars(series) for series in duplicates_of(connection, study_id)],
    }


def say_completeness(connection: Connection, study_id: StudyId) -> None:
    """The same for people."""
    report = completeness_report(connection, study_id)
    lines = [] if report is None else [*_completeness_lines(report, study_id)]
    lines += [_duplicate_line(study_id, series) for series in duplicates_of(connection, study_id)]
    if lines:
        console().print("\n" + "\n".join(lines), markup=False)


def _completeness_lines(report: CompletenessReport, study_id: StudyId) -> Iterator[str]:
    if report.waiting_since is not None and report.waiting_until is not None:
        yield (
            f"Waits since {_time(report.waiting_since)}, until {_time(report.waiting_until)} at "
            f"most: {report.missing_reason}."
        )
        yield f"`deepbrainprint process-now {study_id}` processes what is here."
    elif report.closing_rule and report.missing_reason:
        yield f"Looked incomplete when it closed: {report.missing_reason}."
    if report.closing_rule:
        yield f"Closed ({report.closing_rule}): {report.closing_reason}."
    elif report.quiet_seconds is not None:
        yield f"Quiet time {spoken(report.quiet_seconds)}: {report.quiet_reason}."


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _duplicate_line(study_id: StudyId, series: DuplicateSeries) -> str:
    where = "" if series.original_study_id == study_id else f" of study {series.original_study_id}"
    return (
        f"{series_name(series.series_number).capitalize()} has the same pixels as "
        f"{series_name(series.original_series_number)}{where} ({series.images} images)."
    )


def upkeep_of(settings: Settings, url: str) -> Upkeep | None:
    """What `status` says beside the backlog; None when disk or database do not say."""
    database = Database(url, maximum_connections=1)
    try:
        with database.transaction() as connection:
            counts = completeness_counts(connection)
        return Upkeep(counts, forecast(settings, database))
    except DeepBrainPrintError:  # the parts of the stack say what is away
        return None
    finally:
        database.close()


def say_upkeep(upkeep: Upkeep) -> None:
    """A line for each thing that is so."""
    counts = {
        "waiting because they look incomplete": upkeep.counts.waiting,
        "processed though they looked incomplete": upkeep.counts.processed_incomplete,
        "series that came before under other UIDs": upkeep.counts.duplicate_series,
    }
    for words, number in counts.items():
        if number:
            console().print(f"{words}: {number}")
    is_well = upkeep.disk.state is DiskState.OK
    console().print(f"disk: {upkeep.disk}", style=None if is_well else "yellow")


def upkeep_document(upkeep: Upkeep) -> dict[str, Any]:
    """The same for programs."""
    return {"completeness": vars(upkeep.counts), "disk": vars(upkeep.disk)}
