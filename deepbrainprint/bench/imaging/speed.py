"""Seconds and memory of one scan, cold and warm, and studies per hour of two workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from deepbrainprint.bench.imaging import heads
from deepbrainprint.bench.imaging.collection import Collection
from deepbrainprint.bench.imaging.findings import Figures, Finding, Goal, at_least, at_most
from deepbrainprint.bench.imaging.workload import Workload
from deepbrainprint.bench.machine import CORES, two_cores
from deepbrainprint.errors import TryAgain
from deepbrainprint.imaging import volume
from deepbrainprint.records import Contrast

BUSY = 0.5  # processes that ran or waited in the last minute
WARM_S, COLD_S, MOST_MB, LEAST_PER_HOUR = 4.0, 6.0, 1500.0, 1200.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_COMMAND = (sys.executable, "-m", "deepbrainprint.bench.imaging.stopwatch")

Say = Callable[[str], None]


def measure(collection: Collection, load: Workload, say: Say) -> Finding:
    """Time T1w scans of 1 mm on two cores: one with its skull, one without."""
    load_before = os.getloadavg()[0]
    if load_before > BUSY:
        say(f"the machine is busy (load {load_before:.1f}): times say little")
    with TemporaryDirectory(prefix="dbp-bench-") as folder, two_cores():
        inputs = _inputs(collection, Path(folder))
        if not inputs:
            return Finding("speed", left_out=("no folder t1w or labels",))
        single: Figures = {}
        for name, path in inputs.items():
            single[name] = _single(path, load.speed_repeats)
            say(f"{name}: {single[name]['cold']['total']:.1f} s cold, "
                f"{single[name]['warm']['total']:.1f} s warm, "
                f"{single[name]['warm']['processor']:.1f} processor seconds")  # fmt: skip
        batch = _batch(list(inputs.values()), load.batch)
        say(f"two workers: {batch['studies_per_hour']:.0f} studies/hour")
    figures = {"load_before": load_before, "single": single, "batch": batch}
    return Finding("speed", figures, tuple(_goals(single, batch)))


def _inputs(collection: Collection, folder: Path) -> dict[str, Path]:
    found = {}
    if maps := collection.label_maps():
        drawn = heads.label_map(maps[0])
        found["painted head, 1 mm"] = folder / "head.nii.gz"
        volume.write(heads.head(drawn, Contrast.T1W, 0), found["painted head, 1 mm"])
    if brains := collection.bare_brains():
        found["real brain without skull, 0.87×0.87×1 mm"] = brains[0]
    return found


def _single(path: Path, repeats: int) -> Figures:
    runs = json.loads(_output("timed", repeats + 1, path))
    cold, warm = runs[0], runs[1:]
    steps = warm[0]["seconds"]
    return {
        "cold": cold["seconds"],
        "warm": {step: median(run["seconds"][step] for run in warm) for step in steps},
        "peak_rss_mb": {step: max(r["peak_rss_mb"][step] for r in runs)
                        for step in cold["peak_rss_mb"]},
    }  # fmt: skip


def _output(mode: str, times: int, path: Path) -> bytes:
    try:
        done = subprocess.run(
            [*_COMMAND, mode, str(times), str(path)], capture_output=True, check=True
        )
    except subprocess.CalledProcessError as error:
        raise TryAgain("a timed run did not end well", code="run_failed") from error
    return done.stdout


def _batch(paths: Sequence[Path], times: int) -> Figures:
    """Two workers with one thread each, both warm, `times` studies each."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(paths, times)) for _ in range(CORES)]
        for worker in workers:
            _line(worker)
        started = time.perf_counter()
        for worker in workers:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        reports = [json.loads(_line(worker)) for worker in workers]
        seconds = time.perf_counter() - started
    return {
        "workers": CORES,
        "studies": CORES * times,
        "seconds": seconds,
        "studies_per_hour": CORES * times / seconds * 3600,
        "peak_rss_mb_each": max(report["peak_rss_mb"] for report in reports),
    }


@contextmanager
def _worker(paths: Sequence[Path], times: int) -> Iterator[Any]:
    worker = subprocess.Popen(
        [*_COMMAND, "batch", str(times), *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | _ONE_THREAD,
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def _line(worker: Any) -> bytes:
    line: bytes = worker.stdout.readline()
    if not line:
        raise TryAgain("a worker did not end well", code="run_failed")
    return line


def _goals(single: Figures, batch: Figures) -> Iterator[Goal]:
    for name, found in single.items():
        yield at_most(f"at most {WARM_S:.0f} s warm: {name}", WARM_S, found["warm"]["total"])
        yield at_most(f"at most {COLD_S:.0f} s cold: {name}", COLD_S, found["cold"]["total"])
        most = max(found["peak_rss_mb"].values())
        yield at_most(f"at most {MOST_MB:.0f} MB: {name}", MOST_MB, most)
    words = f"at least {LEAST_PER_HOUR:.0f} studies/hour on two cores"
    yield at_least(words, LEAST_PER_HOUR, batch["studies_per_hour"])
