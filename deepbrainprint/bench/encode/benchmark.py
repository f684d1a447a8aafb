"""The run: each network in turn, one document for JSON."""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepbrainprint.bench.encode import figures
from deepbrainprint.bench.encode.measuring import Measured, measure
from deepbrainprint.bench.encode.networks import chosen_folders, prepared
from deepbrainprint.bench.encode.workload import SEED, SIZES
from deepbrainprint.bench.machine import CORES, machine, two_cores
from deepbrainprint.bench.meter import Meter, await_quiet
from deepbrainprint.bench.source import commit
from deepbrainprint.encoder.runtime_torch import gpu_name

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt-cu13")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to run: how much, on which encoder's folder (none: ours), how long to wait for quiet."""

    size: str = "full"
    encoder: Path | None = None
    patience_seconds: float = 0.0


def bench_encode(plan: Plan, say: Say) -> dict[str, Any]:
    """Measure it all, `say` being told of progress; a document for JSON."""
    load = SIZES[plan.size]
    head = {
        "bench": "encode",
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(Path(tempfile.gettempdir())) | {"gpu": gpu_name()},
        "versions": _versions(),
        "commit": commit(),
        "method": {"size": plan.size, "seed": SEED, "cores_used": CORES} | asdict(load),
    }
    found: list[Measured] = []
    interrupted = False
    with Meter({"bench": os.getpid()}) as meter, two_cores():
        try:
            _run(plan, say, found)
        except KeyboardInterrupt:
            interrupted = True
            say("interrupted: what was measured until now follows")
    busy, own = meter.usage.busy_cpu_seconds, meter.usage.cpu_seconds["bench"]
    load_now = {"load_after": list(os.getloadavg()), "others_share_of_busy": 1 - own / busy}
    return head | load_now | {"interrupted": interrupted} | told(found)


def _run(plan: Plan, say: Say, found: list[Measured]) -> None:
    """Append each network before it is measured: what an interruption leaves is kept."""
    load = SIZES[plan.size]
    with tempfile.TemporaryDirectory(prefix="dbp-encode-") as folder:
        scratch = Path(folder)
        for encoder, trained in chosen_folders(plan.encoder, scratch).items():
            network = prepared(encoder, scratch, load, say, trained=trained)
            await_quiet(plan.patience_seconds)
            found.append(Measured(network))
            measure(found[-1], load, say)


def told(found: Sequence[Measured]) -> dict[str, Any]:
    """The tables and goals of all networks."""
    goals = [asdict(goal) for goal in figures.goals(found)]
    return {
        "networks": [each.network.as_json() for each in found],
        "goals": goals,
        "failed": [goal["goal"] for goal in goals if goal["holds"] is False],
        "left_out": [row for each in found for row in each.left_out],
        "results": [row for each in found for row in figures.results(each)],
        "openings": [row for each in found for row in figures.openings(each)],
        "parity": [row for each in found for row in figures.parities(each)],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("deepbrainprint", *_LIBRARIES):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
