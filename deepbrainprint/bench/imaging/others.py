"""Asking other people's registration, each time in a fresh process."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from deepbrainprint.errors import TryAgain
from deepbrainprint.imaging import volume
from deepbrainprint.records import AffineArray, Volume

MODULES = {"greedy": ("picsl_greedy", "picsl-greedy"), "ANTs": ("ants", "antspyx")}
_LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Registered:
    """What another program found: mm of the fixed volume to mm of the moving one."""

    transform: AffineArray
    seconds: float  # without starting Python
    peak_rss_mb: float


def missing(name: str) -> str:
    """What to install for `name`, greedy or ANTs; empty when it is there."""
    module, package = MODULES[name]
    found = importlib.util.find_spec(module) is not None
    return "" if found else f"{package} is not installed: pip install 'deepbrainprint[bench]'"


def versions() -> dict[str, str]:
    """Versions of those that are there."""
    return {
        name: importlib.metadata.version(package)
        for name, (_, package) in MODULES.items()
        if not missing(name)
    }


def register(kind: str, fixed: Volume, moving: Volume) -> Registered:
    """Register `moving` to `fixed`; `kind` is one of `registrar.KINDS`.

    TryAgain with code `peer_failed` when the other program did not come to an end.
    """
    with TemporaryDirectory(prefix="dbp-bench-") as folder:
        files = [Path(folder, name) for name in ("fixed.nii", "moving.nii")]
        for scan, path in zip((fixed, moving), files, strict=True):
            volume.write(scan, path)
        return _asked(kind, files)


def _asked(kind: str, files: list[Path]) -> Registered:
    command = [sys.executable, "-m", "deepbrainprint.bench.imaging.registrar", kind]
    try:
        done = subprocess.run(
            [*command, *map(str, files)],
            capture_output=True,
            timeout=_LONGEST_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise TryAgain(f"{kind} did not end well", code="peer_failed") from error
    found = json.loads(done.stdout)
    return Registered(np.array(found["transform"]), found["seconds"], found["peak_rss_mb"])


@functools.cache
def present(name: str) -> bool:
    """Say whether `name`, greedy or ANTs, is there."""
    return not missing(name)
