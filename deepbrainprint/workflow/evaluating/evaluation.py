"""Measure methods on a manifest: align, describe, compare, report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.records import ByteArray
from deepbrainprint.workflow.evaluating.measuring import Measured, measure
from deepbrainprint.workflow.evaluating.report import BrainOf, page
from deepbrainprint.workflow.evaluating.results import genuine_pairs, method_results
from deepbrainprint.workflow.evaluating.saliency import PAIRS, saliency
from deepbrainprint.workflow.known.manifest import ListedScan, people_of, read_manifest
from deepbrainprint.workflow.known.preparing import prepare
from deepbrainprint.workflow.methods import Method

FEWEST_SCANS = 3

Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class Plan:
    """What is measured, and with what."""

    methods: Mapping[str, Method]
    cache: Path | None = None  # of aligned brains; None: beside the results
    workers: int = 0  # 0: one for every two cores
    synthstrip: Path | None = None  # weights of a site that strips with it
    saliency: bool = True


def evaluate(manifest: Path, out: Path, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Write report.json and report.html to `out` and return the document.

    Raises
    ------
    BadStudy
        The manifest cannot be used, or too few of its scans can.
    """
    listed = read_manifest(manifest)
    cache = plan.cache or out / "cache"
    workers = plan.workers or max(1, (os.cpu_count() or 2) // 2)
    kept = prepare(
        listed,
        cache,
        workers=workers,
        progress=lambda done, total: progress("align", done, total),
        synthstrip=plan.synthstrip,
    )
    usable = [place for place, one in enumerate(kept) if not one.refusal]
    if len(usable) < FEWEST_SCANS:
        raise BadStudy(
            f"only {len(usable)} of {len(listed)} scans could be aligned: "
            f"{FEWEST_SCANS} are needed", code="too_few_scans",
        )  # fmt: skip
    scans = [listed[place] for place in usable]
    measured: dict[str, Measured] = {}
    for name, method in plan.methods.items():
        brains = (kept[place].brain(cache) for place in usable)
        measured[name] = measure(
            method,
            brains,
            describing=partial(_told, progress, f"{name}: describe", len(usable)),
            comparing=partial(_told, progress, f"{name}: compare", len(usable)),
        )
    document = {
        "manifest": manifest.name,
        "made_by": f"DeepBrainPrint {version('deepbrainprint')}",
        "preprocessing_version": PREPROCESSING_VERSION,
        "scans": len(scans),
        "people": int(people_of(scans).max()) + 1,
        "refused": [
            {"path": scan.name, "reason": one.refusal}
            for scan, one in zip(listed, kept, strict=True)
            if one.refusal
        ],
        "methods": {name: method_results(one, scans) for name, one in measured.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(document, indent=1, allow_nan=False))

    def brain_of(place: int) -> ByteArray:
        return kept[usable[place]].brain(cache)

    salient = _salient(plan.methods, scans, brain_of, progress) if plan.saliency else {}
    html = page(document, measured, scans, salient, brain_of)
    (out / "report.html").write_text(html, encoding="utf-8")
    return document


def _salient(
    methods: Mapping[str, Method],
    scans: Sequence[ListedScan],
    brain_of: BrainOf,
    progress: Progress,
) -> dict[str, Floats]:
    """Return where each method's scores come from; nothing where nobody was scanned twice."""
    pairs = [(brain_of(i), brain_of(j)) for i, j in genuine_pairs(scans, PAIRS)]
    maps = {}
    for number, (name, method) in enumerate(methods.items() if pairs else (), start=1):
        maps[name] = saliency(method, pairs)
        progress("saliency", number, len(methods))
    return maps


def _told(progress: Progress, what: str, total: int, done: int) -> None:
    progress(what, done, total)
