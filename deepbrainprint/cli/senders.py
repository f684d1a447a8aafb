"""Commands about senders: who may send, who tried, and whether a modality would get through."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import connection_of, person
from deepbrainprint.cli.desk import AsJson, Home, settings_of
from deepbrainprint.cli.output import console, show_json, table
from deepbrainprint.database import senders as register
from deepbrainprint.database.quarantine import held_objects
from deepbrainprint.database.senders import NoticedSender, SenderRuling
from deepbrainprint.intake.quarantine.keeping import HeldReason
from deepbrainprint.intake.sender_list import (
    SenderList,
    command_to_admit,
    valid_network,
    valid_title,
)
from deepbrainprint.settings import Settings

Title = Annotated[str, typer.Argument(help="Calling AE title, as the sender writes it.")]
Network = Annotated[
    str, typer.Option("--address", help="Only from 10.1.2.3 or 10.1.2.0/24; else from anywhere.")
]
Note = Annotated[str, typer.Option(help="What it is and who asked; no patient data.")]

MODES = {
    "refuse": "Other senders are refused.",
    "quarantine": "What other senders send is kept in quarantine until they are admitted.",
    "accept": "Anyone may send and query: set DBP_UNKNOWN_SENDERS=refuse before production.",
}
_REASONS = {
    "unknown_sender": "nobody admitted it",
    "other_address": "admitted at another address only",
    "denied_sender": "denied by a person",
    "wrong_called_ae": "it calls another AE title than ours",
}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(senders)
    app.command()(admit)
    app.command()(deny)


def senders(home: Home = None, as_json: AsJson = False) -> None:
    """List who may send and who may not, and who tried, with the command that admits each."""
    settings = settings_of(home)
    with connection_of(settings) as connection:
        listed = SenderList(tuple(register.sender_rulings(connection)))
        noticed = register.noticed_senders(connection)
    waiting = [one for one in noticed if not _is_settled(listed, one)]
    options = _options(home)
    if as_json:
        show_json(_document(settings, listed, waiting, options))
    else:
        _say(settings, listed, waiting, options)


def admit(
    ae: Title,
    address: Network = "any",
    note: Note = "",
    may_query: Annotated[
        bool, typer.Option("--may-query", help="Let it also ask by C-FIND what we hold.")
    ] = False,
    home: Home = None,
) -> None:
    """Let a sender send; in effect within seconds. The newest word on a sender counts."""
    network = _checked(valid_network, address)
    title = _checked(valid_title, ae)
    held = _record(
        home, SenderRuling(title, network, admitted=True, may_query=may_query, note=note)
    )
    also = " and query" if may_query else ""
    out = console()
    out.print(f"{title} may send{also} from {_place(network)}, in a few seconds.", markup=False)
    if held:
        words = ["deepbrainprint", "quarantine", "release", "--code", HeldReason.UNKNOWN_SENDER]
        what = "1 object of it waits" if held == 1 else f"{held} objects of it wait"
        out.print(f"{what} in quarantine; to file after all:")
        command = shlex.join([*words, "--sender", title, *_options(home)])
        out.print(f"  {command}", markup=False)


def deny(ae: Title, address: Network = "any", note: Note = "", home: Home = None) -> None:
    """Refuse a sender from now on; in effect within seconds."""
    network = _checked(valid_network, address)
    title = _checked(valid_title, ae)
    _record(home, SenderRuling(title, network, admitted=False, note=note))
    words = f"{title} is refused from {_place(network)}, in a few seconds."
    console().print(words, markup=False)


def _record(home: Path | None, ruling: SenderRuling) -> int:
    """Append the ruling; how many objects of the sender are held for want of one."""
    with connection_of(settings_of(home)) as connection:
        register.record_ruling(connection, replace(ruling, decided_by=person()))
        held = held_objects(
            connection, reason_code=HeldReason.UNKNOWN_SENDER, calling_ae=ruling.calling_ae
        )
        return len(held)


def _options(home: Path | None) -> tuple[str, ...]:
    return () if home is None else ("--home", str(home))


def _is_settled(listed: SenderList, noticed: NoticedSender) -> bool:
    """Whether it would be admitted by now."""
    ruling = listed.ruling_on(noticed.calling_ae, noticed.address)
    return bool(ruling and ruling.admitted) and noticed.reason_code != "wrong_called_ae"


def _say(
    settings: Settings,
    listed: SenderList,
    waiting: list[NoticedSender],
    options: tuple[str, ...],
) -> None:
    out = console()
    out.print(MODES[settings.unknown_senders])
    if listed.standing:
        out.print(table([_ruling_line(one) for one in listed.standing], title="\nRulings"))
    else:
        out.print("Nobody is admitted by name yet.")
    if waiting:
        out.print(table([_noticed_line(one) for one in waiting], title="\nNot admitted"))
    commands = list(dict.fromkeys(filter(None, (_command(one, options) for one in waiting))))
    if commands:
        out.print("\nTo admit one, run its line:")
        for command in commands:
            out.print(f"  {command}", markup=False)


def _ruling_line(ruling: SenderRuling) -> dict[str, Any]:
    return {
        "AE title": ruling.calling_ae,
        "address": ruling.network,
        "may": _rights(ruling),
        "since": ruling.decided_at,
        "by": ruling.decided_by,
        "note": ruling.note or None,
    }


def _noticed_line(noticed: NoticedSender) -> dict[str, Any]:
    return {
        "AE title": noticed.calling_ae or "(none)",
        "address": noticed.address,
        "was": noticed.outcome,
        "because": _REASONS.get(noticed.reason_code, noticed.reason_code),
        "called": noticed.called_ae,
        "times": noticed.times,
        "first": noticed.first_at,
        "last": noticed.last_at,
    }


def _rights(ruling: SenderRuling) -> str:
    if not ruling.admitted:
        return "nothing: denied"
    return "send, query" if ruling.may_query else "send"


def _command(noticed: NoticedSender, options: tuple[str, ...]) -> str:
    if noticed.reason_code == "wrong_called_ae":
        return ""  # no admission helps: the sender must call us by our title
    return command_to_admit(noticed.calling_ae, noticed.address, options=options)


def _document(
    settings: Settings,
    listed: SenderList,
    waiting: list[NoticedSender],
    options: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "unknown_senders": settings.unknown_senders,
        "rulings": listed.standing,
        "not_admitted": [
            vars(one) | {"command_to_admit": _command(one, options)} for one in waiting
        ],
    }


def _place(network: str) -> str:
    return "any address" if network == "any" else network


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
