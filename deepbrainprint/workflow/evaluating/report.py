"""The evaluation as one HTML file that needs nothing else: tables, histograms, hardest cases."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure

from deepbrainprint.imaging import pictures
from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.records import ByteArray
from deepbrainprint.workflow.evaluating.measuring import Measured
from deepbrainprint.workflow.evaluating.results import Case, hardest, pairs_of
from deepbrainprint.workflow.evaluating.saliency import EDGE_MM, PAIRS, drawn
from deepbrainprint.workflow.known.manifest import ListedScan

TEMPLATE = Path(__file__).with_name("report.html")
COLUMNS = {
    "rank_1": "rank 1",
    "rank_5": "rank 5",
    "recall_at_3": "recall@3",
    "map_at_3": "mAP@3",
    "fnir_at_fpir_1_percent": "FNIR at FPIR 1 %",
}

BrainOf = Callable[[int], ByteArray]


def page(
    document: Mapping[str, Any],
    measured: Mapping[str, Measured],
    scans: Sequence[ListedScan],
    salient: Mapping[str, Floats],
    brain_of: BrainOf,
) -> str:
    """Return the report of an evaluation as HTML."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(document["manifest"]),
        counts=f"{document['scans']} scans of {document['people']} people",
        summary=_summary(document["methods"]),
        refused=_refused(document["refused"]),
        methods="".join(
            _method(name, document["methods"][name], one, scans, brain_of)
            + _saliency(salient.get(name))
            for name, one in measured.items()
        ),
        made=f"{document['made_by']}, preprocessing {document['preprocessing_version']}.",
    )


def _summary(methods: Mapping[str, Any]) -> str:
    head = ["method", *COLUMNS.values(), "EER", "bytes an entry", "ms a scan", "µs a comparison"]
    rows = []
    for name, one in methods.items():
        everyone = one["groups"][0] if one["groups"] else None
        figures = [_interval(everyone[key]) for key in COLUMNS] if everyone else ["–"] * 5
        error = f"{100 * everyone['equal_error_rate']:.1f} %" if everyone else "–"
        speed = (
            f"{1e3 * one['seconds_per_scan']:.1f}",
            f"{1e6 * one['seconds_per_comparison']:.2f}",
        )
        rows.append([name, *figures, error, f"{one['bytes_per_entry']:,}", *speed])
    return _table(head, rows)


def _method(
    name: str,
    results: Mapping[str, Any],
    measured: Measured,
    scans: Sequence[ListedScan],
    brain_of: BrainOf,
) -> str:
    lead = measured.matrices[measured.lead]
    groups = [
        [
            one["group"],
            f"{one['probes']} / {one['people']}",
            *(_interval(one[key]) for key in COLUMNS),
            f"{100 * one['equal_error_rate']:.1f} %",
        ]
        for one in results["groups"]
    ]
    head = ["probes → gallery", "probes / people", *COLUMNS.values(), "EER"]
    scores = [
        [score, *(_interval(figures[key]) for key in list(COLUMNS)[:4])]
        for score, figures in results["scores"].items()
    ]
    several = _table(["score", *list(COLUMNS.values())[:4]], scores) if len(scores) > 1 else ""
    made = f"{escape(results['version'])}, by {results['score']}"
    return (
        f"<h2>{escape(name)} <small>{made}</small></h2>"
        f"<section>{_table(head, groups)}{several}</section>"
        f"<section><h3>Pairs of one person and of two</h3>{_histogram(lead, scans)}</section>"
        f"<section><h3>Hardest cases</h3>{_cases(hardest(lead, scans), scans, brain_of)}</section>"
    )


def _saliency(lost: Floats | None) -> str:
    if lost is None:
        return ""
    picture = _picture(drawn(lost), "where the score comes from")
    words = (
        "How much of the score of two scans of one person is lost when a cube of "
        f"{EDGE_MM} mm of one of them is made uniform; mean over {PAIRS} people at most."
    )
    return f"<section><h3>Where the score comes from</h3>{picture}<p>{words}</p></section>"


def _interval(figure: Mapping[str, float]) -> str:
    value, low, high = (100 * figure[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % <small>{low:.1f}–{high:.1f}</small>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        first, *others = row
        numbers = "".join(f'<{tag} class="number">{one}</{tag}>' for one in others)
        return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f'<div class="wide"><table>{cells("th", head)}{body}</table></div>'


def _refused(refused: Sequence[Mapping[str, str]]) -> str:
    if not refused:
        return ""
    lines = "".join(f"<li>{escape(r['path'])}: {escape(r['reason'])}</li>" for r in refused)
    return f"<section><h3>Left out: {len(refused)} scans</h3><ul>{lines}</ul></section>"


def _histogram(matrix: Floats, scans: Sequence[ListedScan]) -> str:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    for values, words, colour in zip(
        pairs_of(matrix, scans), ("one person", "two people"), ("#146c43", "#a61b1b"), strict=True
    ):
        label = f"{words}: {len(values):,} pairs"
        axes.hist(values, 60, density=True, alpha=0.55, label=label, color=colour)
    axes.set(xlabel="similarity", ylabel="density")
    axes.legend()
    held = io.BytesIO()
    figure.savefig(held, dpi=110, format="png")
    return _picture(held.getvalue(), "densities of similarity")


def _cases(cases: Sequence[Case], scans: Sequence[ListedScan], brain_of: BrainOf) -> str:
    parts = []
    with tempfile.TemporaryDirectory(prefix="dbp-evaluate-") as scratch:
        path = Path(scratch) / "pair.png"
        for case in cases:
            pictures.compare_picture(brain_of(case.first), brain_of(case.second), path)
            names = " and ".join(_named(scans[place]) for place in (case.first, case.second))
            words = f"{escape(names)}: {case.words}, similarity {case.similarity:.3f}"
            parts.append(
                f"<figure>{_picture(path.read_bytes(), names)}<figcaption>{words}</figcaption>"
                "</figure>"
            )
    return f'<div class="cases">{"".join(parts)}</div>'


def _named(scan: ListedScan) -> str:
    return f"{scan.subject} session {scan.session} {scan.contrast.value}"


def _picture(png: bytes, words: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
