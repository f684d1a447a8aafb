"""Commands of DICOMweb: the service itself, and the tokens of those who use it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import connection_of, database_of, person
from deepbrainprint.cli.desk import AsJson, Home, settings_of
from deepbrainprint.cli.output import console, show, show_json
from deepbrainprint.database.tokens import TokenReport, token_reports
from deepbrainprint.intake.dicomweb.tokens import Right, end_token, new_token

token = typer.Typer(help="Who may use DICOMweb: make, list and revoke tokens.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(dicomweb)
    app.add_typer(token, name="token", no_args_is_help=True)


def dicomweb(
    home: Home = None,
    host: Annotated[
        str | None, typer.Option(help="Address to bind instead of DBP_DICOMWEB_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Instead of DBP_DICOMWEB_PORT.")
    ] = None,
) -> None:
    """Serve QIDO-RS and STOW-RS until stopped."""
    from deepbrainprint.intake.dicomweb.service import serve_dicomweb  # noqa: PLC0415 — fastapi

    chosen = {"dicomweb_host": host, "dicomweb_port": port}
    settings = settings_of(home).model_copy(
        update={name: value for name, value in chosen.items() if value is not None}
    )
    serve_dicomweb(settings)


@token.command()
def add(
    name: Annotated[
        str, typer.Argument(help="Whose it is, at most 16 characters; the sender's name in lists.")
    ],
    may: Annotated[
        list[Right] | None, typer.Option(help="A right; give the option twice for both.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it counts.")] = 365,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this one time."""
    with database_of(settings_of(home)) as database:
        secret = new_token(database, name, frozenset(may or ()), days=days, by=person())
    if as_json:
        show_json({"name": name, "token": secret, "rights": sorted(may or ()), "days": days})
        return
    console().print(secret, markup=False)
    console(error=True).print(
        f"It is shown this one time. {name} sends it as `Authorization: Bearer …`; "
        f"it counts for {days} days."
    )


@token.command("list")
def list_tokens(home: Home = None, as_json: AsJson = False) -> None:
    """List all tokens: what each may do, until when it counts, and when it was used last."""
    with connection_of(settings_of(home)) as connection:
        found = token_reports(connection)
    if as_json:
        show_json(found)
    else:
        show([_line(report) for report in found], as_json=False, empty="There is no token.")


@token.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Whose token it is.")], home: Home = None
) -> None:
    """Let a token count no more, from the next request on."""
    with database_of(settings_of(home)) as database:
        end_token(database, name, by=person())
    console().print(f"The token of {name} counts no more.")


def _line(report: TokenReport) -> dict[str, Any]:
    rights = {"store": report.may_store, "query": report.may_query}
    return {
        "name": report.name,
        "may": [right for right, allowed in rights.items() if allowed],
        "made": report.created_at,
        "counts until": report.revoked_at or report.expires_at,
        "revoked": "yes" if report.revoked_at else "no",
        "last used": report.last_used_at,
    }
