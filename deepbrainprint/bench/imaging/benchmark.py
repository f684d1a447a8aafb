"""The run: each part in turn, one document for JSON."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepbrainprint.bench.imaging import (
    agreement,
    masks,
    others,
    peers,
    pictures,
    repeatability,
    speed,
    starts,
)
from deepbrainprint.bench.imaging.collection import FOLDERS, Collection
from deepbrainprint.bench.imaging.faults import broken
from deepbrainprint.bench.imaging.findings import Finding
from deepbrainprint.bench.imaging.workload import PARTS, SEED, SIZES
from deepbrainprint.bench.machine import machine
from deepbrainprint.bench.source import commit
from deepbrainprint.errors import BadStudy

_LIBRARIES = ("numpy", "scipy", "nibabel", "SimpleITK", "torch", "deepbet", "nilearn")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to run. `fault` is one of `workload.FAULTS` or empty; `out` is where pictures go."""

    data: Path
    size: str = "quick"
    parts: tuple[str, ...] = PARTS
    fault: str = ""
    out: Path | None = None


def bench_imaging(plan: Plan, say: Say) -> dict[str, Any]:
    """Run it all and say what was found, `say` being told of progress; a document for JSON.

    BadStudy with code `no_data` when the folder holds nothing that can be measured.
    """
    collection = Collection(plan.data)
    lacking = collection.lacking()
    if len(lacking) == FOLDERS:
        raise BadStudy(
            f"the folder holds none of {', '.join(lacking)}: say with --data where they are",
            code="no_data",
        )
    head = {
        "bench": "imaging",
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(plan.data),
        "versions": _versions(),
        "commit": commit(),
        "method": {"size": plan.size, "seed": SEED, "fault": plan.fault or None}
        | asdict(SIZES[plan.size]),
        "lacking": lacking,
    }
    findings: list[Finding] = []
    interrupted = False
    try:
        _run(plan, collection, say, findings)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted: what was measured until now follows")
    return head | {"interrupted": interrupted} | _told(findings)


def _told(findings: list[Finding]) -> dict[str, Any]:
    goals = [{"part": found.part} | asdict(goal) for found in findings for goal in found.goals]
    return {
        "goals": goals,
        "failed": [goal["goal"] for goal in goals if goal["holds"] is False],
        "left_out": [
            {"part": found.part, "why": why} for found in findings for why in found.left_out
        ],
        "parts": {found.part: asdict(found) for found in findings},
    }


def _run(plan: Plan, collection: Collection, say: Say, findings: list[Finding]) -> None:
    """Append what each part found, so that it is kept when a later one is interrupted."""
    for part in plan.parts:
        say(f"— {part}")
        started = time.perf_counter()
        with broken(plan.fault):
            found = _measured(part, plan, collection, say)
        findings.append(replace(found, seconds=time.perf_counter() - started))


def _measured(part: str, plan: Plan, collection: Collection, say: Say) -> Finding:
    load = SIZES[plan.size]
    if part == "masks":
        masked = masks.measure(collection, load, say)
        pictures.draw_mask(masked.worst, plan.out)
        return masked.finding
    if part == "repeatability":
        repeated = repeatability.measure(collection, load, say)
        pictures.draw_repeat(repeated.worst, plan.out)
        return repeated.finding
    measure = {
        "agreement": agreement.measure,
        "starts": starts.measure,
        "speed": speed.measure,
        "peers": peers.measure,
    }
    return measure[part](collection, load, say)


def _versions() -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("deepbrainprint", *_LIBRARIES)}
    return ours | others.versions()
