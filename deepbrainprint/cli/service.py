"""Commands of the service: the embedded stack, and each part of it alone for production."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepbrainprint.cli.desk import AsJson, Home, settings_of
from deepbrainprint.cli.output import console, show
from deepbrainprint.cli.state import show_status
from deepbrainprint.settings import PREFIX, Settings, load_settings


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(demo)
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(listen)
    app.command()(dispatch)
    app.command()(migrate)
    app.command("settings")(list_settings)


def demo(
    home: Annotated[Path, typer.Option(help="Folder for the demo; emptied at each run.")] = Path(
        "demo-home"
    ),
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 0,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the stack at the end instead of leaving it up.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send synthetic patients through a fresh stack and check what is decided of them."""
    from deepbrainprint.cli.demo import play_demo  # noqa: PLC0415 — loads the synthetic scanner

    if not play_demo(home, seed=seed, stop=stop, as_json=as_json):
        raise typer.Exit(1)


def up(
    home: Home = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay; Ctrl-C stops the stack.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start PostgreSQL, Airflow, listener and dispatcher on this machine."""
    from deepbrainprint import stack  # noqa: PLC0415 — only this door needs it

    settings = load_settings(**_chosen(home))
    if foreground:
        stack.run_foreground(settings, report=console(error=True).print)
        return
    with console(error=True).status("Starting …") as spinner:
        stack.up(settings, report=lambda words: spinner.update(f"Starting: {words}"))
    show_status(settings, as_json=as_json)


def down(home: Home = None) -> None:
    """Stop the stack; what it holds stays."""
    from deepbrainprint import stack  # noqa: PLC0415

    settings = load_settings(**_chosen(home))
    with console(error=True).status("Stopping …"):
        ran = stack.down(settings)
    console().print("Stopped." if ran else "It was not running.")


def status(home: Home = None, as_json: AsJson = False) -> None:
    """Say what is up, where the pages are, how to sign in and what is wrong."""
    if not show_status(load_settings(**_chosen(home)), as_json=as_json):
        raise typer.Exit(1)


def _chosen(home: Path | None) -> dict[str, Path]:
    return {} if home is None else {"home": home}


def listen(home: Home = None) -> None:
    """Receive DICOM studies until stopped."""
    from deepbrainprint.intake.listener import listen as serve  # noqa: PLC0415 — pynetdicom

    serve(settings_of(home))


def dispatch(home: Home = None) -> None:
    """Close quiet studies and hand them to Airflow until stopped."""
    from deepbrainprint.intake.dispatch import dispatch as serve  # noqa: PLC0415 — httpx

    serve(settings_of(home))


def migrate(home: Home = None) -> None:
    """Bring the database up to date and register the encoder."""
    from deepbrainprint.workflow import registering  # noqa: PLC0415 — reads the encoder's card

    applied = registering.migrate_database(settings_of(home))
    console().print(f"Applied: {', '.join(applied)}." if applied else "Already up to date.")


def list_settings(as_json: AsJson = False) -> None:
    """List every setting: its variable, its default and what it means."""
    rows = [
        {
            "variable": PREFIX + name.upper(),
            "default": str(field.default),
            "meaning": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    show(rows, as_json=as_json, empty="")
