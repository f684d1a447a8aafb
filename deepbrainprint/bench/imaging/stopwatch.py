"""One process that images scans as a worker does and says how long each step took.

`python -m deepbrainprint.bench.imaging.stopwatch timed TIMES FILE` takes the same file again and
again: the first time is cold and has the imports in it. `batch TIMES FILE…` warms up, waits for a
line on stdin, then takes TIMES files in turn. Both print one JSON line.
"""

from __future__ import annotations

import json
import sys
import time

_STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402 — the imports are what is timed
from typing import Any  # noqa: E402

from deepbrainprint.bench.imaging.memory import peak_rss_mb  # noqa: E402
from deepbrainprint.imaging import brain, slices, volume  # noqa: E402

_IMPORTED = time.perf_counter()


def imaged(path: Path) -> dict[str, dict[str, float]]:
    """Take one file from disk to planes; seconds and peak memory after each step."""
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    started, spent = time.perf_counter(), time.process_time()
    scan = volume.read(path)
    seconds["read"], memory["read"] = time.perf_counter() - started, peak_rss_mb()
    examined = brain.examine(scan)
    seconds |= examined.seconds
    memory["strip and align"] = peak_rss_mb()
    cutting = time.perf_counter()
    slices.axial(examined.require().brain, [slices.VENTRICLE_Z])
    done = time.perf_counter()
    seconds["slices"], seconds["total"] = done - cutting, done - started
    seconds["processor"] = time.process_time() - spent  # of all cores; more than total is parallel
    memory["slices"] = peak_rss_mb()
    return {"seconds": seconds, "peak_rss_mb": memory}


def _timed(times: int, path: Path) -> list[dict[str, Any]]:
    runs = [imaged(path) for _ in range(times)]
    runs[0]["seconds"]["import"] = _IMPORTED - _STARTED
    runs[0]["seconds"]["total"] += _IMPORTED - _STARTED
    return runs


def _batch(times: int, paths: list[Path]) -> dict[str, float]:
    imaged(paths[0])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(times):
        imaged(paths[number % len(paths)])
    return {"peak_rss_mb": peak_rss_mb()}


def _main(mode: str, times: str, *files: str) -> None:
    paths = [Path(file) for file in files]
    found = _timed(int(times), paths[0]) if mode == "timed" else _batch(int(times), paths)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
