"""The most memory that this process has held."""

from __future__ import annotations

from pathlib import Path


def peak_rss_mb() -> float:
    """The high-water mark of the resident size, MB of 10⁶ bytes.

    Not getrusage's, which a child process takes over from its parent.
    """
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e6
    return float("nan")
