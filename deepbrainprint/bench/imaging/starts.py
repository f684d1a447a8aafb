"""Whether the brain is found from any start: pose, order of voxels and thickness at random.

A start is `right` when the header says truly how the patient lay: the head is turned by up to 30°
about any axis. It is `wrong` when the header is off by one of the other 23 turns that lead axes of
the body to axes of the body, as after a wrong patient position (DICOM PS3.3 C.7.3.1.1.2), and the
head is turned by up to 30° besides.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from numpy.random import Generator, default_rng

from deepbrainprint.bench.imaging import displacement, rescans
from deepbrainprint.bench.imaging.collection import Collection, bare_brain, outline, person
from deepbrainprint.bench.imaging.findings import Figures, Finding, Goal, at_most, column, spread
from deepbrainprint.bench.imaging.workload import SEED, Workload
from deepbrainprint.imaging import alignment
from deepbrainprint.records import AffineArray

FAILED_MM = 5.0
DEGREES, OFFSET_MM, MOST_ANISOTROPY = 30.0, 100.0, 6.0
HEADERS = ("right", "wrong")

Say = Callable[[str], None]


def measure(collection: Collection, load: Workload, say: Say) -> Finding:
    """Start from everywhere; the truth is what the unmoved scan gave, moved by the known pose."""
    paths = collection.bare_brains()
    if not paths:
        return Finding("starts", left_out=("no folder t1w",))
    used = paths[: min(len(paths), load.starts)]
    cases: list[Figures] = []
    for number, path in enumerate(used):
        cases += _from_everywhere(path, range(number, load.starts, len(used)))
        failed = sum(column(cases, "failed"))
        say(f"{person(path)}: {failed} of {len(cases)} starts failed until now")
    return Finding("starts", _figures(cases), _goals(cases), tuple(cases))


def _from_everywhere(path: Path, numbers: range) -> list[Figures]:
    scan, mask = bare_brain(path)
    unmoved = alignment.find(scan, mask)
    found = []
    with TemporaryDirectory(prefix="dbp-bench-") as folder:
        for number in numbers:
            rng = default_rng([SEED, number])
            header = HEADERS[number % 2]
            how = _start(rng, header)
            moved = rescans.rescanned(scan, mask, how, rng, spline=1)
            again = rescans.through_file(moved, how, Path(folder, "start.nii"))
            result = alignment.find(again, outline(again))
            truth = rescans.about(how.pose, scan, mask) @ unmoved
            rms, most = displacement.distances(result, truth)
            found.append(
                {
                    "start": number,
                    "person": person(path),
                    "header": header,
                    "voxel_mm": how.voxel_mm,
                    "axes_after_reading": "".join(map(str, nib.aff2axcodes(again.affine))),
                    "rms_mm": rms,
                    "most_mm": most,
                    "failed": bool(rms > FAILED_MM),
                }
            )
    return found


def _start(rng: Generator, header: str) -> rescans.Positioning:
    turn = rescans.turned(rng, DEGREES)
    if header == "wrong":
        turn = turn @ quarter_turns()[rng.integers(1, 24)]
    edges = np.full(3, 1.0)
    edges[rng.integers(3)] = rng.uniform(1, MOST_ANISOTROPY)
    voxel_mm = (float(edges[0]), float(edges[1]), float(edges[2]))
    return rescans.positioned(rng, turn, OFFSET_MM, voxel_mm)


def quarter_turns() -> list[AffineArray]:
    """The 24 proper turns (3, 3) that lead axes to axes; the first one leaves all in place."""
    found = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.eye(3)[list(order)] * np.array(signs)[:, None]
        if np.linalg.det(turn) > 0:
            found.append(turn)
    return found


def _figures(cases: list[Figures]) -> Figures:
    return {
        f"header {header}": {
            "starts": len(column(cases, "rms_mm", header=header)),
            "failures": sum(column(cases, "failed", header=header)),
            "displacement_rms_mm": spread(column(cases, "rms_mm", header=header), worst="most"),
        }
        for header in HEADERS
    }


def _goals(cases: list[Figures]) -> tuple[Goal, ...]:
    failures = [(h, float(sum(column(cases, "failed", header=h)))) for h in HEADERS]
    misread = sum(case["axes_after_reading"] != "RAS" for case in cases)
    return (
        *(
            at_most(f"no failure in random starts whose header is {header}", 0.0, count)
            for header, count in failures
        ),
        at_most("every scan is read into RAS order", 0.0, float(misread)),
    )
