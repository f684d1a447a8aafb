"""`deepbrainprint pull` and `pulls`: studies fetched from a PACS, and what became of them."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepbrainprint.cli.access import database_of
from deepbrainprint.cli.desk import AsJson, Home, Limit, settings_of
from deepbrainprint.cli.pull_report import conclude, show_pull, show_pulls, shown_progress
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pulls import PullId
from deepbrainprint.errors import BadStudy, Conflict, DeepBrainPrintError
from deepbrainprint.settings import Settings

if TYPE_CHECKING:  # pynetdicom and httpx come with these
    from deepbrainprint.intake.pull.asks import Ask
    from deepbrainprint.intake.pull.campaign import Progress
    from deepbrainprint.intake.pull.order import Order

_SOURCE = "Where from"
_ASKED = "What"
_PACE = "When and how fast"

Source = Annotated[
    str, typer.Option("--from", help="PACS as AE@host:port.", rich_help_panel=_SOURCE)
]
By = Annotated[
    str,
    typer.Option(
        help="get: over our own association. move: the PACS sends to our listener.",
        rich_help_panel=_SOURCE,
    ),
]
Tls = Annotated[bool, typer.Option("--tls", help="DICOM over TLS.", rich_help_panel=_SOURCE)]
Url = Annotated[
    str,
    typer.Option(
        help="DICOMweb service instead; its token is in DBP_PULL_TOKEN_FILE.",
        rich_help_panel=_SOURCE,
    ),
]
Name = Annotated[
    str,
    typer.Option(help="AE title that what comes by --url is filed under.", rich_help_panel=_SOURCE),
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        help="File with one value a line, or CSV with a column such as AccessionNumber, "
        "PatientID or StudyInstanceUID; - reads standard input.",
        rich_help_panel=_ASKED,
    ),
]
ListOf = Annotated[
    str | None,
    typer.Option(help="accession, patient or study: what --list holds.", rich_help_panel=_ASKED),
]
Accession = Annotated[
    list[str] | None,
    typer.Option(
        help="Accession number; others on this machine can see it, unlike what --list holds.",
        rich_help_panel=_ASKED,
    ),
]
Patient = Annotated[
    list[str] | None, typer.Option(help="Patient id; seen likewise.", rich_help_panel=_ASKED)
]
Study = Annotated[
    list[str] | None, typer.Option(help="Study Instance UID.", rich_help_panel=_ASKED)
]
Dates = Annotated[
    str, typer.Option(help="Study dates: 2024-01-01..2024-01-31.", rich_help_panel=_ASKED)
]
Modality = Annotated[
    list[str] | None,
    typer.Option(
        help="With --patient and --dates only studies of these; MR if not given, `any`: all.",
        rich_help_panel=_ASKED,
    ),
]
Window = Annotated[
    str, typer.Option(help="Only in these hours, local time: 22:00-06:00.", rich_help_panel=_PACE)
]
Rate = Annotated[
    float | None, typer.Option(min=0.1, help="Instances a second.", rich_help_panel=_PACE)
]
StudiesPerHour = Annotated[
    float | None, typer.Option(min=0.1, help="Studies an hour.", rich_help_panel=_PACE)
]
Attempts = Annotated[
    int,
    typer.Option(min=1, help="Tries for each study, with growing pauses.", rich_help_panel=_PACE),
]
Resume = Annotated[int | None, typer.Option(help="Go on with the pull of this number.")]
Identity = Annotated[
    bool, typer.Option("--show-identity", help="Show what was asked for; a log must not hold it.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(pull)
    app.command()(pulls)


def pull(
    source: Source = "",
    by: By = "get",
    tls: Tls = False,
    url: Url = "",
    name: Name = "DICOMWEB",
    list_file: Files = None,
    list_of: ListOf = None,
    accession: Accession = None,
    patient: Patient = None,
    study: Study = None,
    dates: Dates = "",
    modality: Modality = None,
    window: Window = "",
    rate: Rate = None,
    studies_per_hour: StudiesPerHour = None,
    attempts: Attempts = 5,
    resume: Resume = None,
    home: Home = None,
    show_identity: Identity = False,
    as_json: AsJson = False,
) -> None:
    """Fetch studies from a PACS; what is here already is not fetched again."""
    settings = settings_of(home)
    named = _named(accession, patient, study, dates)
    _require_sense(resume, asked=bool(named or list_file), placed=bool(source or url))
    with database_of(settings, connections=4) as database:
        pull_id = PullId(resume) if resume is not None else None
        if pull_id is None:
            order = _order(
                _address(source, url, name) | {"tls": tls, "way": "web" if url else by},
                modalities=_modalities(modality),
                window=window,
                rate=rate,
                studies_per_hour=studies_per_hour,
                attempts=attempts,
            )
            pull_id = _opened(database, order, [*_listed(list_file, list_of), *named])
        with shown_progress() as report:
            error = _carried_out(settings, database, pull_id, report)
        code = conclude(database, pull_id, error, show_identity=show_identity, as_json=as_json)
    raise typer.Exit(code)


def pulls(
    number: Annotated[int | None, typer.Argument(help="One pull: all its lines.")] = None,
    home: Home = None,
    show_identity: Identity = False,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List pulls, or say what became of each line and study of one."""
    with database_of(settings_of(home)) as database:
        if number is None:
            show_pulls(database, limit=limit, as_json=as_json)
        else:
            show_pull(database, PullId(number), show_identity=show_identity, as_json=as_json)


def _require_sense(resume: int | None, *, asked: bool, placed: bool) -> None:
    if resume is None and not asked:
        raise typer.BadParameter("say what to fetch: --list, --accession, --patient, --dates …")
    if resume is not None and (asked or placed):
        raise typer.BadParameter("--resume goes on as the pull began: leave the others out")


def _opened(database: Database, order: Order, asks: list[Ask]) -> PullId:
    from deepbrainprint.intake.pull import session  # noqa: PLC0415 — pynetdicom, httpx

    return session.open_pull(database, order, asks)


def _carried_out(
    settings: Settings, database: Database, pull_id: PullId, report: Callable[[Progress], None]
) -> DeepBrainPrintError | None:
    """Run the pull; what stopped it, or None."""
    from deepbrainprint.intake.pull import session  # noqa: PLC0415
    from deepbrainprint.intake.signals import stopped_by_signals  # noqa: PLC0415

    stop = threading.Event()
    try:
        with stopped_by_signals(stop):
            session.carry_out(settings, database, pull_id, stop=stop, report=report)
    except (Conflict, BadStudy):  # another process is at it, or there is no such pull
        raise
    except DeepBrainPrintError as error:
        return error
    return None


def _named(
    accession: list[str] | None, patient: list[str] | None, study: list[str] | None, dates: str
) -> list[Ask]:
    from deepbrainprint.intake.pull.asks import Kind, ask, ask_for_dates  # noqa: PLC0415

    options = {Kind.ACCESSION: accession, Kind.PATIENT: patient, Kind.STUDY: study}
    asks = [
        ask(kind, value, f"--{kind} {number}")
        for kind, values in options.items()
        for number, value in enumerate(values or [], start=1)
    ]
    return [*asks, ask_for_dates(dates)] if dates else asks


def _listed(files: list[str] | None, list_of: str | None) -> list[Ask]:
    from deepbrainprint.intake.pull.asks import Kind, read_list  # noqa: PLC0415

    if list_of not in {None, "accession", "patient", "study"}:
        raise typer.BadParameter("--list-of is accession, patient or study")
    kind = None if list_of is None else Kind(list_of)
    several = len(files or []) > 1
    return [
        ask
        for number, file in enumerate(files or [], start=1)
        for ask in read_list(_text_of(file), kind, f"list {number}" if several else "")
    ]


def _text_of(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadStudy(f"--list cannot be read ({why}): correct it", code="bad_list") from None


def _address(source: str, url: str, name: str) -> dict[str, Any]:
    if bool(source) == bool(url):
        raise typer.BadParameter(
            "give the PACS with --from AE@host:port or with --url, one of them"
        )
    if url:
        return {"url": url, "source": name}
    match = re.fullmatch(r"([^@\\]{1,16})@(.+):(\d{1,5})", source)
    if match is None:
        raise typer.BadParameter("--from reads AE@host:port, such as PACS@10.0.0.5:104")
    return {"source": match[1], "host": match[2].strip("[]"), "port": int(match[3])}


def _order(address: dict[str, Any], **terms: Any) -> Order:
    from deepbrainprint.intake.pull.order import Order, Way  # noqa: PLC0415

    if address["way"] not in set(Way) or (address["way"] == Way.WEB and not address.get("url")):
        raise typer.BadParameter("--by is get or move")
    order = Order(**address | {"way": Way(address["way"])}, **terms)
    order.opening_hours()  # a wrong window is said now and not at night
    return order


def _modalities(chosen: list[str] | None) -> tuple[str, ...]:
    named = tuple(modality.strip().upper() for modality in chosen or ["MR"])
    return () if "ANY" in named else named
