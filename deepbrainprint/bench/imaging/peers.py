"""Our alignment beside ANTsPy's and Greedy's affine: the same brains, the same template."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from deepbrainprint.bench.imaging import displacement, others, repeatability
from deepbrainprint.bench.imaging.collection import Collection, outline
from deepbrainprint.bench.imaging.findings import Figures, Finding, column, spread
from deepbrainprint.bench.imaging.repeatability import Visit, correlation
from deepbrainprint.bench.imaging.workload import Workload
from deepbrainprint.bench.machine import two_cores
from deepbrainprint.imaging import alignment, template
from deepbrainprint.imaging.resampling import resampled
from deepbrainprint.records import AffineArray

OURS = "ours"
KINDS = {"ANTs": "ANTs affine", "greedy": "greedy affine"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Found:
    transform: AffineArray
    seconds: float
    peak_rss_mb: float | None


def measure(collection: Collection, load: Workload, say: Say) -> Finding:
    """Align brains that were positioned anew; each program gets the brain without its skull."""
    paths = collection.bare_brains()[: load.peer_people]
    if not paths:
        return Finding("peers", left_out=("no folder t1w",))
    left_out = tuple(reason for name in KINDS if (reason := others.missing(name)))
    kinds = [KINDS[name] for name in KINDS if not others.missing(name)]
    cases: list[Figures] = []
    with two_cores():
        for path in paths:
            seen = repeatability.visits(path, load.rescans)
            for program in (OURS, *kinds):
                cases += _one_program(program, seen)
                say(_spoken(program, cases))
    figures = {program: _figures(cases, program) for program in (OURS, *kinds)}
    return Finding("peers", figures, (), tuple(cases), left_out)


def _one_program(program: str, seen: Sequence[Visit]) -> list[Figures]:
    found = [(visit, _aligned(program, visit)) for visit in seen]
    singles = [_single(visit, one) for visit, one in found]
    repeats = [_repeat(*pair) for pair in combinations(found, 2)]
    return [{"program": program} | case for case in (*singles, *repeats)]


def _single(visit: Visit, found: _Found) -> Figures:
    return {
        "person": visit.person,
        "scan": visit.kind,
        "seconds": found.seconds,
        "peak_rss_mb": found.peak_rss_mb,
        "from_ours_rms_mm": displacement.distances(found.transform, visit.transform)[0],
    }


def _repeat(one: tuple[Visit, _Found], other: tuple[Visit, _Found]) -> Figures:
    """How far one scan is aligned from where the other one says that it must be."""
    (visit, first), (again, second) = one, other
    truth = again.pose @ np.linalg.inv(visit.pose) @ first.transform
    volumes = [
        resampled(each.scan, template.reference(), made.transform) for each, made in (one, other)
    ]
    kinds = [visit.kind, again.kind]
    return {
        "person": visit.person,
        "scans": kinds,
        "kind": repeatability.KINDS[repeatability.KINDS[1] in kinds],
        "repeat_rms_mm": displacement.distances(second.transform, truth)[0],
        "correlation": correlation(*volumes),
    }


def _aligned(program: str, visit: Visit) -> _Found:
    if program != OURS:
        made = others.register(program, template.reference(), visit.scan)
        return _Found(made.transform, made.seconds, made.peak_rss_mb)
    started = time.perf_counter()
    transform = alignment.find(visit.scan, outline(visit.scan))
    return _Found(transform, time.perf_counter() - started, None)


def _figures(cases: Sequence[Figures], program: str) -> Figures:
    def of(name: str, worst: str, **wanted: str) -> Figures:
        return spread(column(cases, name, program=program, **wanted), worst=worst)

    return {
        "seconds": of("seconds", "most"),
        "peak_rss_mb": of("peak_rss_mb", "most"),
        "from_ours_rms_mm": of("from_ours_rms_mm", "most"),
        "repeat_rms_mm": {k: of("repeat_rms_mm", "most", kind=k) for k in repeatability.KINDS},
        "correlation": {k: of("correlation", "least", kind=k) for k in repeatability.KINDS},
    }


def _spoken(program: str, cases: Sequence[Figures]) -> str:
    found = _figures(cases, program)
    seconds = found["seconds"]["median"]
    worst = max(each.get("worst", 0.0) for each in found["repeat_rms_mm"].values())
    return f"{program}: {seconds:.1f} s in the median, repeats at most {worst:.1f} mm apart"
