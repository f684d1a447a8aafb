"""Nested figures as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_COLUMNS = ("count", "median", "p5", "p95", "worst")


def rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each spread or number in `figures`, however deep; all with the same columns."""
    found = list(_walk(figures, ""))
    shown = [name for name in _COLUMNS if any(name in values for _, values in found)]
    return [
        {"figure": name, "value": _cell(values.get("value"))}
        | {column: _cell(values.get(column)) for column in shown}
        for name, values in found
    ]


def _walk(figures: dict[str, Any], above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in figures.items():
        path = f"{above}, {name}" if above else name
        path = path.replace("_", " ")
        if isinstance(value, dict) and "count" in value:
            if value["count"]:
                yield path, value
        elif isinstance(value, dict):
            yield from _walk(value, path)
        elif not isinstance(value, list):
            yield path, {"value": value}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
