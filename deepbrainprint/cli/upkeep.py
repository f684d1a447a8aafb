"""Commands that decide when a study is processed and what is kept of it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import database_of, person
from deepbrainprint.cli.desk import AsJson, Home, settings_of
from deepbrainprint.cli.output import console, show_json, table
from deepbrainprint.database import completeness, reports
from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.errors import BadStudy, Conflict, TryAgain
from deepbrainprint.intake.retention import Due, Removed, Retention
from deepbrainprint.records import State, StudyId, StudyRevision
from deepbrainprint.settings import Settings

_PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_STUDIES_TOLD = 20


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("process-now")(process_now)
    app.command()(retention)


def process_now(
    study: Annotated[int, typer.Argument(help="Number of the study.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Process a study that is still receiving with the images that are here now."""
    with database_of(settings_of(home)) as database:
        with database.transaction() as connection:
            run = _ask(connection, StudyId(study))
        state = _await_closed(database, run)
    if as_json:
        show_json({"study_id": run.study_id, "revision": run.revision, "state": state})
    else:
        console().print(f"Study {study} goes on as revision {run.revision}: {state}.")


def retention(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Delete the files of processed studies that are past DBP_RETENTION_DAYS, now."""
    settings = settings_of(home)
    with database_of(settings) as database:
        keeper = Retention(settings, database)
        if dry_run:
            _say_due(settings, keeper.due(), as_json=as_json)
        else:
            _say_removed(settings, keeper.run(), as_json=as_json)


def _ask(connection: Connection, study_id: StudyId) -> StudyRevision:
    run = completeness.ask_to_close(connection, study_id)
    if run is None:
        raise _not_receiving(connection, study_id)
    act = Act(
        actor=person(),
        act="asked_to_process_now",
        subject_kind="study",
        subject_id=str(study_id),
        details={"revision": run.revision},
    )
    record_act(connection, act)
    return run


def _not_receiving(connection: Connection, study_id: StudyId) -> BadStudy | Conflict:
    found = reports.study_reports(connection, study_id=study_id)
    if not found:
        return BadStudy(f"there is no study {study_id}", code="no_such_study")
    return Conflict(
        f"study {study_id} is not waiting for images: its revision {found[0].revision} is "
        f"{found[0].state}; see `deepbrainprint studies {study_id}`",
        code="not_receiving",
    )


def _await_closed(database: Database, run: StudyRevision) -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with database.transaction() as connection:
            report = completeness.completeness_report(connection, run.study_id)
        if report is not None and (report.revision, report.state) != (
            run.revision,
            State.RECEIVING,
        ):
            return report.state
        time.sleep(_LOOK_SECONDS)
    raise TryAgain(
        f"noted, but the dispatcher does not act: study {run.study_id} is processed as soon as it "
        "runs; see `deepbrainprint status`",
        code="dispatcher_away",
    )


def _say_due(settings: Settings, due: Due, *, as_json: bool) -> None:
    size_bytes = sum(study.size_bytes for study in due.studies)
    instances = sum(study.instances for study in due.studies)
    if as_json:
        show_json(
            {
                **_rules(settings),
                "studies": [vars(study) for study in due.studies],
                "instances": instances,
                "size_bytes": size_bytes,
                "quarantined": due.quarantined,
            }
        )
        return
    _say_rules(settings)
    if due.studies:
        console().print(table([vars(study) for study in due.studies[:_STUDIES_TOLD]]))
    console().print(
        f"Would be deleted: {instances} instances of {len(due.studies)} studies "
        f"({size_bytes / 1e9:.1f} GB), {due.quarantined} objects in quarantine."
    )


def _say_removed(settings: Settings, removed: Removed, *, as_json: bool) -> None:
    if as_json:
        show_json({**_rules(settings), **vars(removed)})
        return
    _say_rules(settings)
    console().print(
        f"Deleted: {removed.instances} instances ({removed.size_bytes / 1e9:.1f} GB), "
        f"{removed.quarantined} objects in quarantine."
    )


def _rules(settings: Settings) -> dict[str, Any]:
    return {
        "retention_days": settings.retention_days,
        "quarantine_days": settings.quarantine_days,
    }


def _say_rules(settings: Settings) -> None:
    for name, days in (
        ("DBP_RETENTION_DAYS", settings.retention_days),
        ("DBP_QUARANTINE_DAYS", settings.quarantine_days),
    ):
        if not days:
            console().print(f"{name} is 0: kept for ever.")
