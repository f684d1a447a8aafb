"""An inspection as JSON takes it; names and their meaning are stable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepbrainprint.imaging.brain import Verdict
from deepbrainprint.imaging.views import tilt
from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import SeriesChoice, Volume
from deepbrainprint.workflow.quality.figures import Figure
from deepbrainprint.workflow.quality.inspection import InspectedScan
from deepbrainprint.workflow.quality.story import (
    ScanStory,
    Story,
    code_of,
    orientation,
    refusal_code,
)


def document_of(inputs: Sequence[dict[str, Any]], sheet: Path | None) -> dict[str, Any]:
    """Return the whole answer; `verdict` is that of the worst input."""
    found = {Verdict(one["verdict"]) for one in inputs}
    worst = next(v for v in (Verdict.FAIL, Verdict.FLAG, Verdict.PASS) if v in found)
    return {"verdict": worst, "inputs": list(inputs), "sheet": sheet}


def input_of(story: Story, report: Path | None) -> dict[str, Any]:
    """Return what was found out about one input; `report` is where it was drawn."""
    inspection = story.inspection
    return {
        "input": inspection.name,
        "verdict": inspection.verdict,
        "code": code_of(inspection),
        "reasons": list(story.reasons),
        "next": list(story.advice),
        "recorded": inspection.recorded,
        "series_seconds": inspection.seconds,
        "series": [_series(choice) for choice in inspection.series],
        "scans": [_scan(scan) for scan in story.scans],
        "report": report,
    }


def _series(choice: SeriesChoice) -> dict[str, Any]:
    return {
        "series_number": choice.series_number,
        "contrast": choice.contrast,
        "usable": choice.usable,
        "confidence": choice.confidence,
        "reason": choice.reason,
        "instances": choice.instance_count,
    }


def _scan(story: ScanStory) -> dict[str, Any]:
    one, choice = story.inspected, story.inspected.series
    figures = [figure for step in story.steps for figure in step.figures]
    return {
        "series_number": choice and choice.series_number,
        "contrast": choice and choice.contrast,
        "verdict": one.verdict,
        "code": refusal_code(one),
        "flags": _flags(one),
        "reasons": list(story.reasons),
        "next": list(story.advice),
        "files": one.files,
        "volume": None if one.scan is None else _volume(one.scan),
        "figures": {figure.name: _figure(figure) for figure in figures},
        "seconds": _seconds(one),
    }


def _flags(one: InspectedScan) -> list[str]:
    refused = one.verdict is Verdict.FAIL or one.examination is None
    return [] if refused or one.examination is None else list(one.examination.reasons)


def _volume(scan: Volume) -> dict[str, Any]:
    return {
        "voxels": list(scan.data.shape),
        "spacing_mm": [round(float(edge), 4) for edge in spacing(scan.affine)],
        "orientation": orientation(scan.affine),
        "tilt_degrees": round(tilt(scan.affine), 2),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "unit": figure.unit,
        "least": figure.least,
        "most": figure.most,
        "good": figure.good,
    }


def _seconds(one: InspectedScan) -> dict[str, float]:
    taken = one.examination.seconds if one.examination is not None else {}
    return {"convert": one.seconds, **taken}
