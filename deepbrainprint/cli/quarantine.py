"""Commands of the quarantine desk: what was kept aside, and what to do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import connection_of, database_of, person
from deepbrainprint.cli.desk import AsJson, Home, Limit, settings_of
from deepbrainprint.cli.output import console, show, show_json, table
from deepbrainprint.database.acts import ActReport, acts_of
from deepbrainprint.database.connection import Database
from deepbrainprint.database.quarantine import HeldObject, HeldState, held_objects
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.quarantine.desk import SUBJECT, Conflict, Decided, QuarantineDesk
from deepbrainprint.intake.quarantine.inspection import Inspection
from deepbrainprint.intake.quarantine.keeping import HeldReason
from deepbrainprint.settings import Settings

Ids = Annotated[list[int] | None, typer.Argument(help="Objects, as `list` numbers them.")]
Code = Annotated[
    HeldReason | None, typer.Option("--code", help="All that are held for this reason.")
]
Sender = Annotated[str | None, typer.Option(help="All that this AE title sent.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this a selection is only shown.")]

app = typer.Typer(help="Objects that were kept aside: look, file after all, discard.")


def add_to(parent: typer.Typer) -> None:
    """Register the commands."""
    parent.add_typer(app, name="quarantine", no_args_is_help=True)


@dataclass(frozen=True)
class _Selection:
    objects: list[HeldObject]
    is_named: bool  # by number, not by what they have in common


@app.command("list")
def list_held(
    reason: Annotated[HeldReason | None, typer.Option("--reason", "--code")] = None,
    sender: Sender = None,
    state: Annotated[HeldState, typer.Option(help="Which of them.")] = HeldState.HELD,
    home: Home = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List what was kept aside, why, and what to do about it."""
    with connection_of(settings_of(home)) as connection:
        found = held_objects(
            connection, state=state, reason_code=reason, calling_ae=sender, limit=limit
        )
    if as_json:
        show_json([vars(held) | {"advice": _advice(held)} for held in found])
    else:
        show([_line(held) for held in found], as_json=False, empty=f"Nothing is {state}.")


@app.command("show")
def show_held(
    number: Annotated[int, typer.Argument(help="The object, as `list` numbers it.")],
    show_identity: Annotated[
        bool, typer.Option("--show-identity", help="Values too. That you looked is recorded.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Look into one object; values that may say who it is of are left out."""
    with _open(home) as (settings, database):
        desk = QuarantineDesk(settings, database, actor=person())
        held = desk.find(number)
        inside, conflict = _look(desk, held, show_identity=show_identity)
        with database.transaction() as connection:
            acts = acts_of(connection, SUBJECT, str(number))
    if as_json:
        document = {"object": held, "advice": _advice(held), "inside": inside}
        show_json(document | {"conflict": conflict, "acts": acts})
    else:
        _say(held, inside, conflict, acts)


@app.command("release")
def release(
    numbers: Ids = None,
    code: Code = None,
    sender: Sender = None,
    reason: Annotated[str, typer.Option(help="Why; no patient data.")] = "",
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """File objects after all, as if they came now. What still cannot be filed stays, and says why.

    After a mismatch an object is filed as what its data set says. Nothing filed is overwritten: of
    two objects under one UID the second stays here until it is discarded or comes under a new UID.
    """
    with _open(home) as (settings, database):
        desk = QuarantineDesk(settings, database, actor=person())
        filing = Filing(settings, database)
        chosen = _chosen(desk, database, numbers, code, sender)
        _act_on(
            chosen,
            lambda held: desk.release(held, filing, reason=reason),
            verb="release",
            yes=yes,
            as_json=as_json,
        )


@app.command("discard")
def discard(
    reason: Annotated[str, typer.Option(help="Why; no patient data.")],
    numbers: Ids = None,
    code: Code = None,
    sender: Sender = None,
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Remove objects for good; who did it, when and why stays on record."""
    if not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    with _open(home) as (settings, database):
        desk = QuarantineDesk(settings, database, actor=person())
        chosen = _chosen(desk, database, numbers, code, sender)
        _act_on(
            chosen,
            lambda held: desk.discard(held, reason=reason),
            verb="discard",
            yes=yes,
            as_json=as_json,
        )


def _chosen(
    desk: QuarantineDesk,
    database: Database,
    numbers: list[int] | None,
    code: HeldReason | None,
    sender: str | None,
) -> _Selection:
    if numbers and (code or sender):
        raise typer.BadParameter("name objects, or select them by --code and --sender, not both")
    if numbers:
        return _Selection([desk.find(number) for number in dict.fromkeys(numbers)], is_named=True)
    if not code and not sender:
        raise typer.BadParameter("name objects, or select them by --code or --sender")
    with database.transaction() as connection:
        found = held_objects(connection, reason_code=code, calling_ae=sender)
    return _Selection(found, is_named=False)


def _act_on(
    chosen: _Selection,
    act: Callable[[HeldObject], Decided],
    *,
    verb: str,
    yes: bool,
    as_json: bool,
) -> None:
    if not chosen.is_named and not yes:
        _preview(chosen.objects, verb, as_json=as_json)
        return
    done = []
    for held in chosen.objects:
        done.append(act(held))
        if not as_json:
            console().print(f"{held.quarantine_id}: {done[-1].outcome} — {done[-1].words}")
    if as_json:
        show_json(done)
    elif not done:
        console().print("Nothing is held that this selects.")
    if any(decided.outcome == "refused" for decided in done):
        raise typer.Exit(1)


def _preview(objects: list[HeldObject], verb: str, *, as_json: bool) -> None:
    if as_json:
        show_json([Decided(held.quarantine_id, "preview", "", verb) for held in objects])
        return
    if not objects:
        console().print("Nothing is held that this selects.")
        return
    total = sum(held.size_bytes for held in objects)
    which = "this object" if len(objects) == 1 else f"these {len(objects)} objects"
    console().print(table([_line(held) for held in objects]))
    console().print(
        f"\nNothing was changed. To {verb} {which} ({total / 1e6:.1f} MB), "
        "repeat the command with --yes."
    )


def _look(
    desk: QuarantineDesk, held: HeldObject, *, show_identity: bool
) -> tuple[Inspection | None, Conflict | None]:
    """What is inside; nothing once the object was let go."""
    if held.state is not HeldState.HELD and not show_identity:
        return None, None
    is_conflict = HeldReason.of(held.reason_code) is HeldReason.OTHER_BYTES
    inside = desk.look_into(held, show_identity=show_identity)
    return inside, desk.conflict_of(held) if is_conflict else None


def _say(
    held: HeldObject,
    inside: Inspection | None,
    conflict: Conflict | None,
    acts: list[ActReport],
) -> None:
    out = console()
    out.print(table([_line(held)]))
    out.print(f"\nWhy: {held.reason}", markup=False)
    if inside is not None:
        _say_inside(inside)
    if conflict is not None:
        _say_conflict(held, conflict)
    if acts:
        out.print(table([_act_line(act) for act in acts], title="\nActs"))


def _say_inside(inside: Inspection) -> None:
    out = console()
    claim = inside.request
    out.print(
        f"Sent as SOP class {claim.sop_class_uid}, instance {claim.sop_instance_uid}, "
        f"transfer syntax {claim.transfer_syntax_uid}",
        markup=False,
    )
    if inside.elements:
        out.print(table([vars(element) for element in inside.elements], title="\nElements"))
    if inside.note:
        out.print(f"Note: {inside.note}.")


def _say_conflict(held: HeldObject, conflict: Conflict) -> None:
    out = console()
    filed = conflict.filed
    copies = [
        {"copy": "filed", "bytes": filed.size_bytes, "received": filed.received_at,
         "study": filed.study_id, "file": str(conflict.filed_path)},
        {"copy": "held", "bytes": held.size_bytes, "received": held.received_at,
         "study": None, "file": str(conflict.held_path)},
    ]  # fmt: skip
    out.print(table(copies, title="\nTwo objects under one SOP Instance UID"))
    if not conflict.is_there:
        out.print("The file of the filed one is gone: restore it from a backup.", style="red")
    elif conflict.differences:
        lines = [vars(difference) for difference in conflict.differences]
        out.print(table(lines, title="\nThey differ in"))


def _line(held: HeldObject) -> dict[str, Any]:
    line = {
        "object": held.quarantine_id,
        "reason": held.reason_code,
        "from": held.calling_ae,
        "bytes": held.size_bytes,
        "received": held.received_at,
    }
    if held.state is HeldState.HELD:
        return line | {"what to do": _advice(held)}
    return line | {
        "state": held.state,
        "by": held.decided_by,
        "when": held.decided_at,
        "note": held.note,
    }


def _act_line(act: ActReport) -> dict[str, Any]:
    return {"when": act.at, "by": act.actor, "did": act.act, "reason": act.reason or None}


def _advice(held: HeldObject) -> str:
    return HeldReason.of(held.reason_code).advice


@contextmanager
def _open(home: Path | None) -> Iterator[tuple[Settings, Database]]:
    settings = settings_of(home)
    if not settings.quarantine_folder.is_dir():
        raise BadStudy(
            "there is no quarantine folder under DBP_HOME: name the listener's home with --home",
            code="no_quarantine",
        )
    with database_of(settings, connections=2) as database:
        yield settings, database
