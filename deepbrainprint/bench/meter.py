"""What processes take of the machine: processor time and memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

_SAMPLE_SECONDS = 0.2
_CHILDREN_END_SECONDS = 5.0
_QUIET_PERCENT = 8.0


@dataclass
class Usage:
    """By part of a receiver; bytes are resident sizes, in which shared pages count for each."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: dict[str, int] = field(default_factory=dict)  # sum over the part's processes
    peak_process_rss_bytes: dict[str, int] = field(default_factory=dict)  # the largest one
    peak_rss_bytes_together: int = 0
    busy_cpu_seconds: float = 0.0  # of the whole machine, whoever it was


class Meter:
    """Measures the trees of processes under `roots` between its entry and its exit.

    Processes that end meanwhile count, because their parents inherit what they took.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self.usage = Usage()
        self._roots = {name: psutil.Process(pid) for name, pid in roots.items()}
        self._children = {name: _children(root) for name, root in self._roots.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._busy_before = _busy_cpu_seconds()
        self._before = {name: _cpu_seconds(root) for name, root in self._roots.items()}
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.usage.busy_cpu_seconds = _busy_cpu_seconds() - self._busy_before
        self._stop.set()
        self._thread.join()
        self._await_ends()
        self.usage.cpu_seconds = {
            name: _cpu_seconds(root) - self._before[name] for name, root in self._roots.items()
        }

    def _sample(self) -> None:
        while True:
            self._look()
            if self._stop.wait(_SAMPLE_SECONDS):
                self._look()
                return

    def _look(self) -> None:
        together = 0
        for name, root in self._roots.items():
            sizes = [_rss_bytes(process) for process in _tree(root)]
            together += sum(sizes)
            _raise_to(self.usage.peak_rss_bytes, name, sum(sizes))
            _raise_to(self.usage.peak_process_rss_bytes, name, max(sizes, default=0))
        self.usage.peak_rss_bytes_together = max(self.usage.peak_rss_bytes_together, together)

    def _await_ends(self) -> None:
        """A process for each association ends after it; only then its parent knows its time."""
        deadline = time.monotonic() + _CHILDREN_END_SECONDS
        while time.monotonic() < deadline and any(
            _children(root) - self._children[name] for name, root in self._roots.items()
        ):
            time.sleep(0.05)


def await_quiet(most_seconds: float) -> None:
    """Return when the machine has next to nothing to do, or after so many seconds."""
    deadline = time.monotonic() + most_seconds
    while time.monotonic() < deadline and psutil.cpu_percent(interval=1.0) > _QUIET_PERCENT:
        pass


def _raise_to(peaks: dict[str, int], name: str, value: int) -> None:
    peaks[name] = max(peaks.get(name, 0), value)


def _children(root: psutil.Process) -> set[int]:
    with suppress(psutil.Error):
        return {child.pid for child in root.children(recursive=True)}
    return set()


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []


def _rss_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _cpu_seconds(root: psutil.Process) -> float:
    """Of a tree; times of children that have ended are their parents'."""
    total = 0.0
    for process in _tree(root):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # own and inherited, user and system
    return total


def _busy_cpu_seconds() -> float:
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    return float(sum(times[:8]) - waiting)  # what guests take is in the first eight already
