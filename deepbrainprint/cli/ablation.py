"""`deepbrainprint bench train`: what each part of the published recipe contributes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.desk import AsJson
from deepbrainprint.cli.output import console, show, show_json

FIGURES = {
    "same_contrast_rank1": "generated, same contrast",
    "cross_contrast_rank1": "generated, two contrasts",
    "real_rank_1": "real, rank 1",
    "real_recall_at_3": "real, recall@3",
    "real_map_at_3": "real, mAP@3",
}


def ablate(
    data: Annotated[Path, typer.Option(help="Folder with t1w/, labels/ and manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for results; a stopped study goes on there.")],
    study: Annotated[str, typer.Option(help="beta, transforms or input.")] = "beta",
    steps: Annotated[int, typer.Option(min=1, help="Of each run.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Train variants of the published recipe, several seeds each, and compare what they find."""
    from rich.progress import Progress  # noqa: PLC0415 — only here

    from deepbrainprint.workflow.ablation import STUDIES, Effort  # noqa: PLC0415 — loads torch
    from deepbrainprint.workflow.ablation import study as run  # noqa: PLC0415

    if study not in STUDIES:
        raise typer.BadParameter(f"--study is one of {', '.join(STUDIES)}")
    with Progress(console=console(error=True)) as bar:
        task = bar.add_task("training")

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        document = run(study, data, out, Effort(steps, seeds), report)
    if as_json:
        show_json(document)
        return
    console().print(document["question"])
    lines = [{"variant": name} | _line(one) for name, one in document["variants"].items()]
    show(lines, as_json=False, empty="Nothing was run.")


def _line(summary: dict[str, Any]) -> dict[str, str]:
    return {
        words: f"{100 * one['mean']:.1f} ({100 * one['least']:.1f}–{100 * one['most']:.1f})"
        for key, words in FIGURES.items()
        if (one := summary.get(key))
    }
