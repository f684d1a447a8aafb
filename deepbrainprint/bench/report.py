"""What was found: figures of each run, medians over repetitions, ratios to peers, goals."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepbrainprint.bench.cells import Cell
from deepbrainprint.bench.meter import Usage
from deepbrainprint.bench.senders import Sent

OURS = "ours"
_BEST_PEER = "orthanc"
_MB, _GB = 1e6, 1e9
_RATIOS = ("instances_per_second", "mb_per_second", "cpu_seconds_per_gb")

Figures = dict[str, float]
Result = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One receiver with one cell, once. `wrong` says in words what was not as it should be."""

    receiver: str
    cell: str
    repetition: int
    sent: Sent
    usage: Usage
    response_seconds: dict[str, list[float]]  # by kind of object
    wrong: str


@dataclass(frozen=True)
class Lost:
    """A receiver that did not start; the others go on."""

    receiver: str
    cell: str
    repetition: int
    wrong: str


def found_in(runs: Sequence[Run], lost: Sequence[Lost], cells: Sequence[Cell]) -> dict[str, Any]:
    """Results by receiver and cell, ratios to peers, goals, faults, and the runs themselves."""
    by_name = {cell.name: cell for cell in cells}
    results = [_result(group, by_name[group[0].cell]) for group in _groups(runs)]
    return {
        "results": results,
        "ratios": _ratios(results),
        "goals": goals(results),
        "failures": _failures([*runs, *lost]),
        "runs": [
            {"receiver": run.receiver, "cell": run.cell, "repetition": run.repetition + 1}
            | figures(run, by_name[run.cell])
            | {"sent": asdict(run.sent), "usage": asdict(run.usage)}
            for run in runs
        ],
    }


def _failures(runs: Iterable[Run | Lost]) -> list[dict[str, Any]]:
    return [
        {"receiver": run.receiver, "cell": run.cell, "repetition": run.repetition + 1}
        | {"wrong": run.wrong}
        for run in runs
        if run.wrong
    ]


def figures(run: Run, cell: Cell) -> Figures:
    """The figures of one run."""
    cpu, gigabytes = run.usage.cpu_seconds, cell.size_bytes / _GB
    found = {
        "instances_per_second": cell.instances / run.sent.seconds,
        "mb_per_second": cell.size_bytes / _MB / run.sent.seconds,
        "cpu_seconds_per_gb": sum(cpu.values()) / gigabytes,
        "sender_cpu_seconds_per_gb": run.sent.cpu_seconds / gigabytes,
        "peak_rss_mb": run.usage.peak_rss_bytes_together / _MB,
        "peak_process_rss_mb": max(run.usage.peak_process_rss_bytes.values()) / _MB,
    }
    found["other_cpu_share"] = other_cpu_share(run)
    if len(cpu) > 1:
        found["cpu_seconds_per_gb_without_postgres"] = cpu["receiver"] / gigabytes
        found["peak_rss_mb_without_postgres"] = run.usage.peak_rss_bytes["receiver"] / _MB
        largest = run.usage.peak_process_rss_bytes["receiver"]
        found["peak_process_rss_mb_without_postgres"] = largest / _MB
    for kind, seconds in run.response_seconds.items():
        found |= {f"{kind}_{name}": value for name, value in _milliseconds(seconds).items()}
    return found


def other_cpu_share(run: Run) -> float:
    """What others than sender and receiver took of the machine: 1 is all its processors."""
    usage, cores = run.usage, os.cpu_count() or 1
    others = usage.busy_cpu_seconds - sum(usage.cpu_seconds.values()) - run.sent.cpu_seconds
    return max(0.0, others) / (run.sent.seconds * cores)


def goals(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What issue and README promise of ours; `holds` is null for what was not measured."""
    rate = "instances_per_second"
    ours, theirs = (_median(results, who, "slices-4", rate) for who in (OURS, _BEST_PEER))
    return [
        _goal(
            "at least 500 slices/s on 1 association",
            _median(results, OURS, "slices-1", rate),
            least=500.0,
        ),
        _goal("at least Orthanc's slices/s on 4 associations", ours, least=theirs),
        _goal(
            "99 of 100 slices answered within 50 ms on 4 associations",
            _median(results, OURS, "slices-4", "slices_response_p99_ms"),
            most=50.0,
        ),
        _flat(results, "multiframe-1", "25 MB objects"),
        _flat(results, "slices-1-long", "four times as many objects"),
    ]


def _flat(results: Sequence[Result], cell: str, words: str) -> dict[str, Any]:
    memory = "peak_process_rss_mb_without_postgres"
    usual = _median(results, OURS, "slices-1", memory)
    return _goal(
        f"largest process: {words} take at most a tenth more memory (MB)",
        _median(results, OURS, cell, memory),
        most=None if usual is None else 1.1 * usual,
    )


def _goal(
    words: str, found: float | None, *, least: float | None = None, most: float | None = None
) -> dict[str, Any]:
    bound = least if most is None else most
    holds = None
    if found is not None and bound is not None:
        holds = found >= bound if most is None else found <= bound
    return {"goal": words, "bound": bound, "found": found, "holds": holds}


def _groups(runs: Iterable[Run]) -> list[list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.cell, run.receiver), []).append(run)
    return list(groups.values())


def _result(runs: list[Run], cell: Cell) -> Result:
    """Median and spread of each figure."""
    found = [figures(run, cell) for run in runs]
    return {
        "cell": cell.name,
        "receiver": runs[0].receiver,
        "repetitions": len(runs),
        "wrong": sum(bool(run.wrong) for run in runs),
        **{
            name: _spread([each[name] for each in found if name in each])
            for name in dict.fromkeys(name for each in found for name in each)
        },
    }


def _spread(values: list[float]) -> Figures:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _ratios(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Ours by each peer's, of medians."""
    ours = {result["cell"]: result for result in results if result["receiver"] == OURS}
    return [
        {"cell": peer["cell"], "peer": peer["receiver"]}
        | {name: _ratio(ours[peer["cell"]][name], peer[name]) for name in _RATIOS}
        for peer in results
        if peer["receiver"] != OURS and peer["cell"] in ours
    ]


def _ratio(ours: Figures, theirs: Figures) -> float | None:
    return ours["median"] / theirs["median"] if theirs["median"] else None


def _median(results: Iterable[Result], receiver: str, cell: str, name: str) -> float | None:
    for result in results:
        if (result["receiver"], result["cell"]) == (receiver, cell) and name in result:
            return float(result[name]["median"])
    return None


def _milliseconds(seconds: list[float]) -> Figures:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {
        "response_p50_ms": 1e3 * _rank(ordered, 0.50),
        "response_p99_ms": 1e3 * _rank(ordered, 0.99),
        "response_longest_ms": 1e3 * ordered[-1],
        "responses": len(ordered),
    }


def _rank(ordered: list[float], share: float) -> float:
    """The nearest rank: so many are at most this."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
