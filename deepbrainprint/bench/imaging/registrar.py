"""Registration by others, in a process of its own: peers to compare with, and the judge.

`python -m deepbrainprint.bench.imaging.registrar KIND FIXED MOVING` registers two NIfTI files and
prints one JSON line: the transform from mm of FIXED to mm of MOVING (RAS), seconds, and the most
memory that it took. What the libraries print themselves goes to stderr. Greedy (Yushkevich et al.)
and ANTs (Avants et al.) are both under the Apache licence 2.0.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.bench.imaging.memory import peak_rss_mb
from deepbrainprint.records import AffineArray

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world


def greedy(fixed: str, moving: str, degrees: int, start: str) -> AffineArray:
    """Greedy with normalised mutual information and so many `degrees` of freedom."""
    from picsl_greedy import Greedy3D  # noqa: PLC0415 — only where the extra `bench` is there

    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.mat")
        Greedy3D().execute(
            f"-i {fixed} {moving} -a -dof {degrees} -m NMI -n 100x50x10 {start} -o {found} "
            f"-threads {len(os.sched_getaffinity(0))} -V 0"
        )
        return np.loadtxt(found)


def ants(fixed: str, moving: str, kind: str) -> AffineArray:
    """ANTs with the settings of its type of transform `kind`, mutual information."""
    import ants as antspy  # noqa: PLC0415 — likewise

    made = antspy.registration(
        antspy.image_read(fixed), antspy.image_read(moving), type_of_transform=kind
    )
    found = antspy.read_transform(made["fwdtransforms"][0])
    matrix = np.eye(4)
    numbers, centre = np.asarray(found.parameters), np.asarray(found.fixed_parameters)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    turned: AffineArray = _LPS @ matrix @ _LPS
    return turned


KINDS: dict[str, Callable[[str, str], AffineArray]] = {
    "greedy affine": lambda f, m: greedy(f, m, 12, "-ia-image-centers"),
    "greedy similarity": lambda f, m: greedy(f, m, 7, "-ia-identity"),
    "greedy rigid": lambda f, m: greedy(f, m, 6, "-ia-identity"),
    "ANTs affine": lambda f, m: ants(f, m, "Affine"),
    "ANTs rigid": lambda f, m: ants(f, m, "Rigid"),
}


def _main(kind: str, fixed: str, moving: str) -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # both libraries print from C++
    started = time.perf_counter()
    transform = KINDS[kind](fixed, moving)
    report: dict[str, Any] = {
        "transform": transform.tolist(),
        "seconds": time.perf_counter() - started,
        "peak_rss_mb": peak_rss_mb(),
    }
    os.write(answer, json.dumps(report).encode())


if __name__ == "__main__":
    _main(*sys.argv[1:])
