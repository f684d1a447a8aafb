"""The other end of a worker: starts one, gives it orders, reads what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.bench.encode.variants import Variant
from deepbrainprint.errors import TryAgain
from deepbrainprint.records import FloatArray

_COMMAND = (sys.executable, "-m", "deepbrainprint.bench.encode.worker")


@dataclass(frozen=True)
class Timing:
    """Seconds by the clock of each encoding, and what one takes of all cores together.

    The second is much the same whatever else the machine does, unlike the first.
    """

    seconds: list[float]
    processor_seconds: float


@dataclass
class Worker:
    """A process that has opened one variant and waits for orders."""

    variant: Variant
    process: subprocess.Popen[bytes]
    complaints: Any  # its stderr, a file
    load_seconds: dict[str, float] = field(default_factory=dict)  # import, open, first
    peak_rss_mb: float = 0.0
    warm: set[int] = field(default_factory=set)  # batch sizes it has had

    def times(self, batch: int, count: int) -> Timing:
        """Time `count` encodings of so many scans; another goes before the first ever."""
        found = self._asked({"batch": batch, "times": count, "warm_up": batch not in self.warm})
        self.warm.add(batch)
        self.peak_rss_mb = found["peak_rss_mb"]
        return Timing(found["seconds"], found["processor_seconds"])

    def vectors(self, path: Path) -> FloatArray:
        """Fingerprints (judged, 512) of all its views; `path` ends in .npy."""
        self._asked({"vectors": str(path)})
        found: FloatArray = np.load(path, allow_pickle=False)
        return found

    def heard(self) -> dict[str, Any]:
        """Return its next line. TryAgain with its last complaint when it has ended instead."""
        assert self.process.stdout is not None  # noqa: S101 — it was asked for
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise TryAgain(f"it ended: {self._last_words()}", code="run_failed")
        document: dict[str, Any] = json.loads(line)
        return document

    def _asked(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None  # noqa: S101 — it was asked for
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        return self.heard()

    def _last_words(self) -> str:
        self.complaints.seek(0)
        lines: list[str] = self.complaints.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:300] if said else f"exit code {self.process.returncode}"


@contextmanager
def worker(variant: Variant, folder: Path, views: Path) -> Iterator[Worker]:
    """Start a worker and wait until it has encoded one scan; TryAgain when it cannot."""
    told = json.dumps(variant.as_json())
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [*_COMMAND, told, str(folder), str(views)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=_environment(variant),
        )
        started = Worker(variant, process, complaints)
        try:
            found = started.heard()
            started.load_seconds, started.peak_rss_mb = found["seconds"], found["peak_rss_mb"]
            yield started
        finally:
            process.kill()
            process.communicate()


def _environment(variant: Variant) -> dict[str, str]:
    """Threads of torch, too, sleep while they wait: see `encoder.runtime_onnx.SPIN`."""
    threads = {"OMP_NUM_THREADS": str(variant.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    hidden = {} if variant.gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return os.environ | threads | hidden
