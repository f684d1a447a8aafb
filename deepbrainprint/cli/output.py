"""How the command line speaks: tables for people, one JSON document for programs, logs apart."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH_IN_FILES = 200  # characters: a table in a file or pipe is not folded


def configure_logging() -> None:
    """Send logs to stderr: one JSON object a line, or coloured text on a terminal."""
    renderer: Any = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def console(*, error: bool = False) -> Console:
    """Standard output for people; with `error` standard error, for what is not the answer."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else WIDTH_IN_FILES
    return Console(stderr=error, highlight=False, soft_wrap=True, width=width)


def say_error(message: str) -> None:
    """One line on stderr."""
    console(error=True).print(f"[red]deepbrainprint:[/red] {escape(message)}")


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Rows as a table, or as one JSON document; `empty` is what to say when there are none."""
    if as_json:
        show_json(rows)
    elif rows:
        console().print(table(rows))
    else:
        console().print(empty)


def show_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, default=_plain, indent=2, ensure_ascii=False) + "\n")


def table(rows: Iterable[Mapping[str, Any]], title: str | None = None) -> Table:
    """A table whose columns are the keys of the first row."""
    listed = list(rows)
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in listed[0]:
        numeric = isinstance(listed[0][name], (int, float))
        drawn.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in listed:
        drawn.add_row(*(escape(_words(value)) for value in row.values()))
    return drawn


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
