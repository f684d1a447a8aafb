"""Commands on single scans, without a database: fingerprint, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepbrainprint.cli.desk import AsJson
from deepbrainprint.cli.output import console, show, show_json, table
from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, Reason
from deepbrainprint.settings import load_settings

if TYPE_CHECKING:
    from deepbrainprint.workflow.by_similarity import Likeness
    from deepbrainprint.workflow.comparing import Comparison

ENCODER, SIMILARITY = "encoder", "similarity"
SPOKEN = {
    Reason.SERIES_DISAGREE.value: "The series disagree.",
    Reason.BETWEEN_THRESHOLDS.value: "The evidence lies between the thresholds.",
}
Method = Annotated[
    str,
    typer.Option(help="encoder (the active one), deepbrainprint, brain-id, anatcl or similarity."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(fingerprint)
    app.command()(compare)


def fingerprint(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="NIfTI files or DICOM folders.")],
    method: Method = ENCODER,
    out: Annotated[Path | None, typer.Option(help="Write the vectors to this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn scans into fingerprints; a scan that cannot be used does not stop the others."""
    from deepbrainprint.workflow import fingerprinting  # noqa: PLC0415 — loads the imaging stack

    made, refused = fingerprinting.fingerprint_all(load_settings(), paths, method)
    if out is not None:
        fingerprinting.save(made, out)
    if as_json:
        show_json({"fingerprints": [fingerprinting.as_json(f) for f in made], "refused": refused})
    else:
        lines: list[dict[str, Any]] = [
            {"scan": str(f.path), "contrast": f.best.fingerprint.contrast.value, **f.summary()}
            for f in made
        ]
        show(lines, as_json=False, empty="No fingerprint was made.")
        for one in made:
            for reason in one.left_out:
                console().print(f"{one.path}: left out: {reason}", style="yellow")
    for path, reason in refused.items():
        console().print(f"{path}: {reason}", style="yellow") if not as_json else None
    if refused:
        raise typer.Exit(BadStudy.exit_code)


def compare(
    a: Annotated[Path, typer.Argument(exists=True, help="NIfTI file or DICOM folder.")],
    b: Annotated[Path, typer.Argument(exists=True, help="NIfTI file or DICOM folder.")],
    method: Method = ENCODER,
    contrast_a: Annotated[Contrast | None, typer.Option(help="For a file that says none.")] = None,
    contrast_b: Annotated[Contrast | None, typer.Option(help="For a file that says none.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw both brains, aligned, here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether two scans or studies show the same person, and on what evidence."""
    from deepbrainprint.workflow import by_similarity, comparing  # noqa: PLC0415 — imaging stack

    settings, contrasts = load_settings(), (contrast_a, contrast_b)
    if method == SIMILARITY:
        likeness = by_similarity.compare(settings, (a, b), contrasts=contrasts, png=png)
        show_json(likeness) if as_json else _say_likeness(likeness)
        return
    comparison = comparing.compare(settings, (a, b), method=method, contrasts=contrasts, png=png)
    if as_json:
        show_json(comparison)
        return
    _say_comparison(comparison)


def _say_likeness(likeness: Likeness) -> None:
    out = console()
    out.print(likeness.words)
    out.print(
        table([{"measure": name, "score": f"{v:.4f}"} for name, v in likeness.scores.items()])
    )
    if likeness.threshold is not None:
        two = "the same contrast" if likeness.same_contrast else "two contrasts"
        out.print(
            f"decided by {likeness.measure}: one person above {likeness.threshold:.4f} in {two}"
        )


def _say_comparison(comparison: Comparison) -> None:
    out = console()
    doubts = [reason for reason in comparison.reasons if reason in SPOKEN]
    out.print(" ".join([comparison.words, *(SPOKEN[reason] for reason in doubts)]))
    if len(comparison.series) > 1:
        out.print(table([vars(pair) for pair in comparison.series]))
    out.print(f"cosine similarity of the best fingerprints: {comparison.similarity:.3f}")
    out.print(f"evidence for the same person: {comparison.llr:+.2f} (natural-log likelihood ratio)")
    out.print(f"probability at even odds beforehand: {comparison.probability:.4f}")
    out.print(
        f"calibrated for {'the same contrast' if comparison.same_contrast else 'two contrasts'}; "
        f"linked automatically above {comparison.link_above:.2f}, "
        f"taken as different people below {comparison.new_below:.2f}"
    )
