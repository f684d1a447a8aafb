"""Commands about storage commitment: which requests there are, and where reports go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import connection_of, person
from deepbrainprint.cli.desk import AsJson, Home, Limit, settings_of
from deepbrainprint.cli.output import console, show, show_json
from deepbrainprint.database.acts import Act, record_act
from deepbrainprint.database.commitments import (
    CommitmentReport,
    CommitmentState,
    commitment_addresses,
    commitment_reports,
    set_commitment_address,
)

app = typer.Typer(help="Storage commitment: requests of senders, and where their reports go.")


def add_to(parent: typer.Typer) -> None:
    """Register the commands."""
    parent.add_typer(app, name="commitment", no_args_is_help=True)


@app.command("list")
def list_requests(
    state: Annotated[CommitmentState | None, typer.Option(help="Only these.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List requests, what was found, and why a report was not taken."""
    with connection_of(settings_of(home)) as connection:
        found = commitment_reports(connection, state=state, limit=limit)
    if as_json:
        show_json(found)
    else:
        show([_line(report) for report in found], as_json=False, empty="No request has come.")


@app.command("addresses")
def list_addresses(home: Home = None, as_json: AsJson = False) -> None:
    """List where reports go, as far as somebody said so; other requesters: where they send from."""
    with connection_of(settings_of(home)) as connection:
        found = commitment_addresses(connection)
    rows = [vars(address) for address in found]
    show(rows, as_json=as_json, empty="Nobody named an address.")


@app.command("address")
def set_address(
    ae: Annotated[str, typer.Argument(help="AE title of the requester.")],
    host: Annotated[str, typer.Argument(help="Where it listens.")],
    port: Annotated[int, typer.Argument(min=1, max=65535)],
    home: Home = None,
) -> None:
    """Say where a requester takes its reports; what waits for it is offered at once."""
    by = person()
    act = Act(
        actor=by,
        act="commitment_address_set",
        subject_kind="ae_title",
        subject_id=ae,
        details={"host": host, "port": port},
    )
    with connection_of(settings_of(home)) as connection:
        set_commitment_address(connection, ae, host=host, port=port, set_by=by)
        record_act(connection, act)
    console().print(f"Reports for {ae} go to {host}:{port}.", markup=False)


def _line(report: CommitmentReport) -> dict[str, Any]:
    return {
        "request": report.commitment_id,
        "from": report.requesting_ae,
        "when": report.requested_at,
        "state": report.state,
        "instances": report.instances,
        "committed": report.committed,
        "otherwise": report.failures,
        "attempts": report.attempts,
        "trouble": report.last_error or None,
    }
