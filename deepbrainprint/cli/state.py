"""What `status` says: parts, addresses, how to sign in, what waits and what is wrong."""

from __future__ import annotations

from typing import Any

from deepbrainprint.cli.completeness import Upkeep, say_upkeep, upkeep_document, upkeep_of
from deepbrainprint.cli.output import console, show_json, table
from deepbrainprint.database import reports
from deepbrainprint.database.connection import Database
from deepbrainprint.database.reports import BacklogReport
from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.settings import Settings
from deepbrainprint.stack import PartState, StackInfo, StackStatus
from deepbrainprint.stack import status as look

_COLOURS = {PartState.UP: "green", PartState.STARTING: "yellow", PartState.DOWN: "red"}


def show_status(settings: Settings, *, as_json: bool) -> bool:
    """Show the state of the stack under `settings.home`; True when every part works."""
    found = look(settings)
    backlog = _backlog(found.info)
    upkeep = upkeep_of(settings, found.info.database_url) if found.info and backlog else None
    if as_json:
        show_json(_document(found, backlog, upkeep))
    else:
        _say(found, backlog, upkeep)
    return found.healthy


def show_addresses(found: StackStatus, info: StackInfo) -> None:
    """Where to look and how to sign in."""
    out = console()
    out.print(f"Airflow      {info.airflow_url}  (DAG runs and logs)")
    out.print(
        f"  sign in    user {info.airflow_user}, password {found.password.get_secret_value()}"
    )
    out.print(f"DICOM        {info.ae_title} at {info.listener_host}:{info.listener_port}")
    if info.tls_port:
        out.print(f"  over TLS   port {info.tls_port}")
    out.print(f"DICOMweb     {info.dicomweb_url}  (STOW-RS, QIDO-RS; `deepbrainprint token add`)")
    out.print(f"probes       {info.metrics_url}/readyz, /healthz, /metrics")
    out.print(f"logs         {info.home / 'logs'}")
    for note in info.notes:
        out.print(f"note: {note}", style="yellow")


def _say(found: StackStatus, backlog: BacklogReport | None, upkeep: Upkeep | None) -> None:
    out = console()
    if found.info is None or not found.running:
        out.print("The stack is not running: start it with `deepbrainprint up`.")
        return
    out.print("Everything is up." if found.healthy else "Not everything is up.", style="bold")
    for part in found.parts:
        words = part.words or (f"restarted {part.restarts} times" if part.restarts else "")
        colour = _COLOURS[part.state]
        out.print(f"  [{colour}]{part.state.value:<9}[/{colour}]{part.name:<15}{words}")
        if part.state is not PartState.UP:
            out.print(f"{'':11}its log: {part.log}")
    show_addresses(found, found.info)
    if backlog is not None:
        _say_backlog(backlog)
    if upkeep is not None:
        say_upkeep(upkeep)


def _say_backlog(backlog: BacklogReport) -> None:
    out = console()
    counts = {
        "receiving": backlog.receiving,
        "waiting": backlog.queued,
        "in the pipeline": backlog.running,
        "in review": backlog.in_review,
        "failed or rejected": backlog.failed,
        "objects in quarantine": backlog.quarantined,
    }
    out.print(table([counts], title="\nStudies"))
    if backlog.oldest_waiting_seconds is not None:
        out.print(f"The oldest waits for {backlog.oldest_waiting_seconds:.0f} s.")
    if backlog.last_dispatch_error:
        out.print(f"Handing over to Airflow fails: {backlog.last_dispatch_error}", style="red")


def _backlog(info: StackInfo | None) -> BacklogReport | None:
    if info is None:
        return None
    database = Database(info.database_url, maximum_connections=1)
    try:
        with database.transaction() as connection:
            return reports.backlog_report(connection)
    except DeepBrainPrintError:  # the parts above say that PostgreSQL is away
        return None
    finally:
        database.close()


def _document(
    found: StackStatus, backlog: BacklogReport | None, upkeep: Upkeep | None
) -> dict[str, Any]:
    info = found.info
    return {
        "running": found.running,
        "healthy": found.healthy,
        "phase": found.phase,
        "parts": [vars(part) for part in found.parts],
        "airflow_url": info and info.airflow_url,
        "airflow_user": info and info.airflow_user,
        "password_file": info and info.password_file,
        "ae_title": info and info.ae_title,
        "listener_port": info and info.listener_port,
        "tls_port": info and info.tls_port,
        "dicomweb_url": info and info.dicomweb_url,
        "metrics_url": info and info.metrics_url,
        "notes": list(info.notes) if info else [],
        "backlog": backlog and vars(backlog),
        "upkeep": upkeep and upkeep_document(upkeep),
    }
