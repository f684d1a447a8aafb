"""What was measured on: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

CORES = 2  # that a benchmark may use, so that machines compare


def machine(folder: Path) -> dict[str, object]:
    """Processor, memory, kernel, and the disk under `folder`."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "system": _system(),
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "load_before": list(os.getloadavg()),
    }


def file_system(folder: Path) -> str:
    """Type of the file system that `folder` is in."""
    where = folder.resolve()
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if where.is_relative_to(mount.mountpoint)
    ]
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return str(nearest.fstype) if nearest else "unknown"


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    for line in _lines(Path("/etc/os-release")):
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []


@contextmanager
def two_cores() -> Iterator[None]:
    """Let this process and those it starts run on two cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
