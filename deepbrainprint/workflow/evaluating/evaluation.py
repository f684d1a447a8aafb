"""Measure methods on a manifest: align, describe, compare, report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.workflow.evaluating.manifest import read_manifest
from deepbrainprint.workflow.evaluating.methods import Measured, opened
from deepbrainprint.workflow.evaluating.preparing import prepare
from deepbrainprint.workflow.evaluating.report import page
from deepbrainprint.workflow.evaluating.results import method_results, people_of

FEWEST_SCANS = 3

Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class Plan:
    """What is measured, and with what."""

    methods: tuple[str, ...] = ("encoder", "similarity")
    encoder: Path | None = None  # None: the shipped one
    cache: Path | None = None  # of aligned brains; None: beside the results
    workers: int = 0  # 0: one for every two cores


def evaluate(manifest: Path, out: Path, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Write report.json and report.html to `out` and return the document.

    Raises
    ------
    BadStudy
        The manifest cannot be used, or too few of its scans can.
    Misconfigured
        There is no such method or encoder.

    """
    methods = opened(plan.methods, plan.encoder)
    listed = read_manifest(manifest)
    cache = plan.cache or out / "cache"
    workers = plan.workers or max(1, (os.cpu_count() or 2) // 2)
    kept = prepare(
        listed, cache, workers=workers, progress=lambda n, total: progress("align", n, total)
    )
    usable = [place for place, one in enumerate(kept) if not one.refusal]
    if len(usable) < FEWEST_SCANS:
        raise BadStudy(
            f"only {len(usable)} of {len(listed)} scans could be aligned: "
            f"{FEWEST_SCANS} are needed", code="too_few_scans",
        )  # fmt: skip
    scans = [listed[place] for place in usable]
    measured: dict[str, Measured] = {}
    for name, method in methods.items():
        brains = (kept[place].brain(cache) for place in usable)
        measured[name] = method.measure(brains, _about(name, progress))
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
    html = page(document, measured, scans, lambda place: kept[usable[place]].brain(cache))
    (out / "report.html").write_text(html, encoding="utf-8")
    return document


def _about(name: str, progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)
