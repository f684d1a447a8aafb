"""Whether one person ends as one brain, however positioned and in whatever voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.random import Generator, default_rng
from scipy import ndimage

from deepbrainprint.bench.imaging import displacement, rescans
from deepbrainprint.bench.imaging.collection import Collection, bare_brain, person
from deepbrainprint.bench.imaging.findings import Figures, Finding, Goal, at_least, column, spread
from deepbrainprint.bench.imaging.workload import SEED, Workload
from deepbrainprint.imaging import brain, template
from deepbrainprint.imaging.registration import FWHM
from deepbrainprint.imaging.resampling import resampled
from deepbrainprint.records import AffineArray, ByteArray, FloatArray, Volume
from deepbrainprint.simulation.acquisition import Triple

LEAST_CORRELATION = 0.97
DEGREES, SHIFT_MM = 30.0, 50.0
THICK: Triple = (1.0, 1.0, 5.0)
KINDS = ("isotropic", "1×1×5 mm")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Repeated:
    """What was found, and the two brains (182, 218, 182) of one person that agree least."""

    finding: Finding
    worst: tuple[ByteArray, ByteArray] | None = None


@dataclass(frozen=True)
class Visit:
    """One scan of one person, as aligned, and where its brain truly lies."""

    person: str
    kind: str  # of KINDS, or "first": the scan as it came
    scan: Volume
    pose: AffineArray  # (4, 4), mm of the first scan to mm of this one
    brain: ByteArray | None  # None: the scan was refused
    transform: AffineArray


def measure(collection: Collection, load: Workload, say: Say) -> Repeated:
    """Position people anew, align each scan, and correlate what should be the same."""
    paths = collection.bare_brains()[: load.people]
    if not paths:
        return Repeated(Finding("repeatability", left_out=("no folder t1w",)))
    cases: list[Figures] = []
    firsts: dict[str, ByteArray] = {}
    worst, least = None, 2.0
    for path in paths:
        seen = visits(path, load.rescans)
        for one, other in combinations(seen, 2):
            cases.append(_compared(one, other, seen[0]))
            if (
                cases[-1]["correlation"] < least
                and one.brain is not None
                and other.brain is not None
            ):
                worst, least = (one.brain, other.brain), cases[-1]["correlation"]
        if seen[0].brain is not None:
            firsts[seen[0].person] = seen[0].brain
        say(f"{person(path)}: least correlation {min(column(cases, 'correlation')):.3f} until now")
    others = _strangers(firsts)
    finding = Finding(
        "repeatability", _figures(cases, others), tuple(_goals(cases)), (*cases, *others)
    )
    return Repeated(finding, worst)


def _strangers(firsts: dict[str, ByteArray]) -> list[Figures]:
    """Each two different people, in their scans as they came."""
    return [
        {
            "people": [one, other],
            "correlation_of_strangers": correlation(firsts[one], firsts[other]),
        }
        for one, other in combinations(firsts, 2)
    ]


def visits(path: Path, count: int) -> list[Visit]:
    """The scan in `path` and `count` more of the same brain, every third or last one thick."""
    scan, mask = bare_brain(path)
    found = [_visit(person(path), "first", scan, np.eye(4))]
    with TemporaryDirectory(prefix="dbp-bench-") as folder:
        for number in range(count):
            rng = default_rng([SEED, *path.name.encode(), number])
            kind = KINDS[number == count - 1]
            how = positioning(rng, kind)
            again = rescans.through_file(
                rescans.rescanned(scan, mask, how, rng), how, Path(folder, "again.nii")
            )
            found.append(_visit(person(path), kind, again, rescans.about(how.pose, scan, mask)))
    return found


def positioning(rng: Generator, kind: str) -> rescans.Positioning:
    """A pose up to 30° and 50 mm away; voxels of 0.8 to 1.5 mm, or 1×1×5 mm."""
    edge = float(rng.uniform(0.8, 1.5))
    voxel_mm = THICK if kind == KINDS[1] else (edge, edge, edge)
    return rescans.positioned(rng, rescans.turned(rng, DEGREES), SHIFT_MM, voxel_mm)


def _visit(name: str, kind: str, scan: Volume, pose: AffineArray) -> Visit:
    made = brain.examine(scan).alignment
    if made is None:
        return Visit(name, kind, scan, pose, None, np.eye(4))
    return Visit(name, kind, scan, pose, made.brain, made.transform)


def correlation(first: ByteArray | FloatArray, second: ByteArray | FloatArray) -> float:
    """Normalised correlation inside both brains."""
    both = (first > 0) & (second > 0)
    return float(np.corrcoef(first[both], second[both])[0, 1]) if both.any() else 0.0


def blurred(aligned: ByteArray) -> FloatArray:
    """The brain at a resolution of 5 mm every way, 0 outside: what thick slices show too."""
    inside = (aligned > 0).astype(np.float32)
    weight = ndimage.gaussian_filter(inside, THICK[2] / FWHM, truncate=3)
    smooth = ndimage.gaussian_filter(aligned * inside, THICK[2] / FWHM, truncate=3)
    return np.asarray(np.where(inside, smooth / np.maximum(weight, 1e-3), 0), dtype=np.float32)


def _compared(one: Visit, other: Visit, first: Visit) -> Figures:
    kinds = {one.kind, other.kind} - {"first"}
    found: Figures = {
        "person": one.person,
        "scans": [one.kind, other.kind],
        "kind": KINDS[1] if KINDS[1] in kinds else KINDS[0],
    }
    if one.brain is None or other.brain is None:
        return found | {"correlation": 0.0, "refused": True}
    truth = other.pose @ np.linalg.inv(one.pose) @ one.transform
    rms, most = displacement.distances(other.transform, truth)
    return found | {
        "correlation": correlation(one.brain, other.brain),
        "correlation_at_5_mm": correlation(blurred(one.brain), blurred(other.brain)),
        "correlation_in_true_pose": _in_true_pose(one, other, first),
        "rms_mm": rms,
        "most_mm": most,
    }


def _in_true_pose(one: Visit, other: Visit, first: Visit) -> float:
    """What resolution, shading and noise leave when both lie exactly where they should."""
    return correlation(
        *(resampled(each.scan, template.reference(), each.pose @ first.transform)
          for each in (one, other))
    )  # fmt: skip


def _figures(cases: Sequence[Figures], others: Sequence[Figures]) -> Figures:
    by_kind = {
        kind: {
            "correlation": spread(column(cases, "correlation", kind=kind), worst="least"),
            "correlation_at_5_mm": spread(
                column(cases, "correlation_at_5_mm", kind=kind), worst="least"
            ),
            "correlation_in_true_pose": spread(
                column(cases, "correlation_in_true_pose", kind=kind), worst="least"
            ),
            "displacement_rms_mm": spread(column(cases, "rms_mm", kind=kind), worst="most"),
        }
        for kind in KINDS
    }
    different = spread(column(others, "correlation_of_strangers"), worst="most")
    return {**by_kind, "different people": {"correlation": different}}


def _goals(cases: Sequence[Figures]) -> Iterator[Goal]:
    for kind in KINDS:
        found = spread(column(cases, "correlation", kind=kind), worst="least")
        words = f"same person, {kind}: correlation at least {LEAST_CORRELATION} in the median"
        yield at_least(words, LEAST_CORRELATION, found.get("median"))
