"""What a part of the benchmark found: figures, goals that hold or do not, and single cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Figures = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """What was promised; `holds` is None for what was not measured."""

    goal: str
    bound: float
    found: float | None
    holds: bool | None


@dataclass(frozen=True)
class Finding:
    """One part of the benchmark. `left_out` says what was not measured, and why."""

    part: str
    figures: Figures = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    cases: tuple[Figures, ...] = ()
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0


def at_least(goal: str, bound: float, found: float | None) -> Goal:
    """A goal that holds from `bound` up."""
    return Goal(goal, bound, found, None if found is None else bool(found >= bound))


def at_most(goal: str, bound: float, found: float | None) -> Goal:
    """A goal that holds up to `bound`."""
    return Goal(goal, bound, found, None if found is None else bool(found <= bound))


def spread(values: Iterable[float], *, worst: str) -> Figures:
    """Median, the 5th or 95th percentile and the end that is worse; `worst` is least or most."""
    found = np.asarray(list(values), dtype=np.float64)
    if found.size == 0:
        return {"count": 0}
    tail, end = ("p5", found.min()) if worst == "least" else ("p95", found.max())
    percentile = float(np.percentile(found, int(tail[1:])))
    return {
        "count": int(found.size),
        "median": float(np.median(found)),
        tail: percentile,
        "worst": float(end),
    }


def column(cases: Sequence[Figures], name: str, **wanted: Any) -> list[float]:
    """The values of `name` in the cases that have it and match what is `wanted`."""
    return [
        case[name]
        for case in cases
        if case.get(name) is not None and all(case.get(k) == v for k, v in wanted.items())
    ]
