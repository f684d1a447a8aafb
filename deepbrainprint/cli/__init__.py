"""The command line: 0 done, 1 failed, 2 usage, 3 bad input, 4 try again, 5 misconfigured."""

from __future__ import annotations

import sys

import typer

from deepbrainprint.cli import (
    bench,
    commitment,
    desk,
    dicomweb,
    evaluation,
    pull,
    quality,
    quarantine,
    scan,
    sender_check,
    senders,
    service,
    simulation,
    training,
    upkeep,
)
from deepbrainprint.cli.output import configure_logging, say_error
from deepbrainprint.errors import DeepBrainPrintError

app = typer.Typer(
    name="deepbrainprint",
    help="Recognises a patient by the brain: links MRI studies to patient records.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
service.add_to(app)
desk.add_to(app)
pull.add_to(app)
quarantine.add_to(app)
commitment.add_to(app)
scan.add_to(app)
simulation.add_to(app)
training.add_to(app)
evaluation.add_to(app)
quality.add_to(app)
upkeep.add_to(app)
senders.add_to(app)
sender_check.add_to(app)
dicomweb.add_to(app)
bench.add_to(app)


def main() -> None:
    """Run one command; our own errors become one line and their exit code."""
    configure_logging()
    try:
        app()
    except DeepBrainPrintError as error:
        say_error(str(error))
        sys.exit(error.exit_code)
