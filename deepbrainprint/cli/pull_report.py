"""How a pull is shown: while it runs on stderr, at its end on stdout."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from deepbrainprint.cli.output import console, say_error, show, show_json, table
from deepbrainprint.database import pulls
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pulls import AskReport, ItemReport, PullId, PullReport
from deepbrainprint.errors import BadStudy, DeepBrainPrintError

if TYPE_CHECKING:
    from deepbrainprint.intake.pull.campaign import Progress

_MISSING_ASK = frozenset({"not_there", "failed"})


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Bars on a terminal; elsewhere the log says how far it is."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    words = (TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    with Bars(*columns, *words, console=console(error=True)) as bars:
        asks = bars.add_task("asked", total=None, words="")
        studies = bars.add_task("studies", total=None, words="")

        def update(now: Progress) -> None:
            bars.update(asks, total=now.asks, completed=now.asks - now.asks_left)
            bars.update(
                studies,
                total=now.studies,
                completed=now.studies - now.studies_left,
                words=f"{now.instances} instances, {now.doing}",
            )

        yield update


def conclude(
    database: Database,
    pull_id: PullId,
    error: DeepBrainPrintError | None,
    *,
    show_identity: bool,
    as_json: bool,
) -> int:
    """Report how a pull ended; the exit code."""
    try:
        report = show_pull(database, pull_id, show_identity=show_identity, as_json=as_json)
    except DeepBrainPrintError as trouble:  # PostgreSQL is away: what stopped us says it best
        raise (error or trouble) from None
    if error is None:
        return 1 if report.missing else 0
    say_error(f"{error}. Go on with `deepbrainprint pull --resume {pull_id}`")
    return error.exit_code


def show_pulls(database: Database, *, limit: int, as_json: bool) -> None:
    """All pulls, newest first."""
    with database.transaction() as connection:
        found = pulls.pull_reports(connection, limit=limit)
    if as_json:
        show_json([asdict(report) for report in found])
    else:
        show([_pull_line(report) for report in found], as_json=False, empty="Nothing was pulled.")


def show_pull(
    database: Database, pull_id: PullId, *, show_identity: bool, as_json: bool
) -> PullReport:
    """One pull, its studies, and the lines of its list that brought nothing."""
    with database.transaction() as connection:
        found = pulls.pull_reports(connection, pull_id=pull_id)
        asks = pulls.ask_reports(connection, pull_id, with_identity=show_identity)
        items = pulls.item_reports(connection, pull_id)
    if not found:
        raise BadStudy(f"there is no pull {pull_id}", code="no_such_pull")
    if as_json:
        show_json(_document(found[0], asks, items, show_identity=show_identity))
    else:
        _draw(found[0], asks, items)
    return found[0]


def _document(
    report: PullReport, asks: list[AskReport], items: list[ItemReport], *, show_identity: bool
) -> dict[str, Any]:
    lines = [asdict(ask) for ask in asks]
    if not show_identity:
        lines = [{k: v for k, v in line.items() if k != "value"} for line in lines]
    return {
        "pull": asdict(report) | {"missing": report.missing},
        "asks": lines,
        "studies": [asdict(item) for item in items],
    }


def _draw(report: PullReport, asks: list[AskReport], items: list[ItemReport]) -> None:
    out = console()
    out.print(table([_pull_line(report)]))
    if report.reason:
        out.print(f"\nIt stopped because {escape(report.reason)}.")
    if items:
        out.print(table([_item_line(item) for item in items], title="\nStudies"))
    missing = [_ask_line(ask) for ask in asks if ask.state in _MISSING_ASK]
    if missing:
        out.print(table(missing, title="\nAsked for and not found"))


def _pull_line(report: PullReport) -> dict[str, Any]:
    return {
        "pull": report.pull_id,
        "from": report.source,
        "by": report.protocol,
        "state": report.state,
        "asked": report.asked,
        "found": report.found,
        "fetched": report.fetched,
        "already here": report.already_here,
        "not there": report.not_there,
        "failed": report.failed + report.asks_failed,
        "waiting": report.waiting + report.asks_waiting,
        "began": report.started_at,
        "ended": report.ended_at,
        "why": report.reason_code or None,
    }


def _item_line(item: ItemReport) -> dict[str, Any]:
    return {
        "item": item.item_id,
        "asked at": item.place,
        "study": item.study_id,
        "state": item.state.replace("_", " "),
        "here": item.instances_here,
        "at the PACS": item.expected_instances,
        "attempts": item.attempts,
        "reason": item.reason or None,
    }


def _ask_line(ask: AskReport) -> dict[str, Any]:
    line = {
        "asked at": ask.place,
        "for": ask.kind,
        "state": ask.state.replace("_", " "),
        "reason": ask.reason or None,
    }
    return line if ask.value is None else {**line, "value": ask.value}
