"""Whether two contrasts of one person end in one place, aligned with and without each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain, product
from pathlib import Path

from deepbrainprint.bench.imaging import displacement, judge, others
from deepbrainprint.bench.imaging.collection import Collection, Pair
from deepbrainprint.bench.imaging.findings import (
    Figures,
    Finding,
    Goal,
    at_most,
    column,
    spread,
)
from deepbrainprint.bench.imaging.workload import Workload
from deepbrainprint.imaging import brain, volume
from deepbrainprint.imaging.brain import Examination
from deepbrainprint.records import MaskArray, Volume
from deepbrainprint.simulation import lesions

MOST_MM, MOST_SCALE = 2.0, 0.03
CUT_SHARE = 0.2
ENDS = ("whole", "no top", "no bottom")
_LOST = 999.0  # a refused scan must not pass as one that was not measured

Say = Callable[[str], None]


def measure(collection: Collection, load: Workload, say: Say) -> Finding:
    """Align each scan by itself, whole and with slices cut, and ask the judge."""
    if reason := others.missing(judge.NAME):
        return Finding("agreement", left_out=(reason,))
    pairs = _chosen(collection.pairs(), load.pairs)
    if not pairs:
        return Finding("agreement", left_out=("no folder t1_t2 or repeat",))
    cases: list[Figures] = []
    checks: list[Figures] = []
    for number, pair in enumerate(pairs):
        examined = [_examined(path) for path in (pair.first, pair.second)]
        whole = examined[0]["whole"], examined[1]["whole"]
        ruling = judge.ruled(*whole)
        for case in chain(_cases(pair, examined, ruling), [_together(pair, whole, ruling)]):
            cases.append(case)
            say(_spoken(case))
        if number < load.judge_checks and all(scan.alignment for scan in whole):
            checks += [{"pair": pair.name} | check for check in judge.checked(*whole, ruling)]
    return Finding("agreement", _figures(cases, checks), _goals(cases), tuple(cases))


def _chosen(pairs: list[Pair], most: int) -> list[Pair]:
    """The first of each folder."""
    folders = dict.fromkeys(pair.first.parent for pair in pairs)
    return [
        pair
        for folder in folders
        for pair in [each for each in pairs if each.first.parent == folder][:most]
    ]


def _examined(path: Path) -> dict[str, Examination]:
    scan = volume.read(path)
    whole = brain.examine(scan)
    return {"whole": whole} | {
        end: brain.examine(cut(scan, whole.mask, end)) for end in ENDS[1:] if whole.mask is not None
    }


def cut(scan: Volume, mask: MaskArray, end: str) -> Volume:
    """Take `CUT_SHARE` of the slices that show brain off the top or the bottom, and what is beyond.

    Slices are counted along the axis closest to top and bottom.
    """
    lost = {"top": CUT_SHARE} if end == "no top" else {"bottom": CUT_SHARE}
    return lesions.cut(scan, mask, **lost)


def _cases(
    pair: Pair, examined: list[dict[str, Examination]], ruling: judge.Ruling
) -> Iterator[Figures]:
    for one, other in product(*examined):
        words = {"pair": pair.name, "first": one, "second": other, "aligned": "alone"}
        yield words | _compared(examined[0][one], examined[1][other], ruling)


def _together(pair: Pair, whole: tuple[Examination, Examination], ruling: judge.Ruling) -> Figures:
    """The same two as the scans of one visit, which know each other."""
    first, second = brain.examine_visit(scan.scan for scan in whole)
    words = {"pair": pair.name, "first": "whole", "second": "whole", "aligned": "together"}
    return words | _compared(first, second, ruling)


def _compared(first: Examination, second: Examination, ruling: judge.Ruling) -> Figures:
    if first.alignment is None or second.alignment is None:
        return {"refused": first.code or second.code, "scale_difference": _LOST} | dict.fromkeys(
            ("rms_mm", "most_mm", "rigid_rms_mm", "rigid_most_mm", "stretch"), _LOST
        )
    gap = asdict(
        displacement.gap(first.alignment.transform, ruling.transform @ second.alignment.transform)
    )
    difference = abs(gap.pop("scale") - 1)
    return gap | {"scale_difference": difference, "judge_scale": ruling.scale}


def _figures(cases: list[Figures], checks: list[Figures]) -> Figures:
    names = ("rigid_rms_mm", "rigid_most_mm", "rms_mm", "scale_difference", "stretch")
    found = {
        group: {name: spread(values(name), worst="most") for name in names}
        for group, values in _groups(cases).items()
    }
    judged = {
        "is": judge.KIND,
        "missed_mm": spread(column(checks, "missed_mm"), worst="most"),
        "missed_scale": spread(column(checks, "missed_scale"), worst="most"),
        "scale_found": spread(column(cases, "judge_scale", aligned="together"), worst="most"),
        "checks": checks,
    }
    return {**found, "judge": judged}


def _groups(cases: list[Figures]) -> dict[str, Callable[[str], list[float]]]:
    whole = [case for case in cases if case["first"] == case["second"] == "whole"]
    return {
        "alone": lambda name: column(whole, name, aligned="alone"),
        "cut": lambda name: column([case for case in cases if case not in whole], name),
        "together": lambda name: column(whole, name, aligned="together"),
    }


def _goals(cases: list[Figures]) -> tuple[Goal, ...]:
    words = {
        "alone": "each aligned alone",
        "cut": "each aligned alone, a fifth of the brain's slices cut from one or both",
        "together": "aligned as one visit",
    }
    groups = _groups(cases)
    return tuple(
        at_most(f"{subject} for every pair, {words[group]}", bound, max(values(name), default=None))
        for group, values in groups.items()
        for name, bound, subject in (
            ("rigid_rms_mm", MOST_MM, "rigid displacement at most 2 mm"),
            ("scale_difference", MOST_SCALE, "scale difference at most 3 %"),
        )
    )


def _spoken(case: Figures) -> str:
    place = f"{case['pair']}, {case['first']} and {case['second']}, {case['aligned']}"
    if "refused" in case:
        return f"{place}: refused, {case['refused']}"
    percent = 100 * case["scale_difference"]
    return f"{place}: {case['rigid_rms_mm']:.2f} mm, scale {percent:.1f} % apart"
