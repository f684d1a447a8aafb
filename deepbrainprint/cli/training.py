"""`deepbrainprint train`: from a folder of brains to a method that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepbrainprint.cli.output import console
from deepbrainprint.settings import load_settings

SIMILARITY = "similarity"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(train)


def train(
    data: Annotated[Path, typer.Option(help="Folder with t1w/ and labels/ to learn from.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, curves and card.")],
    recipe: Annotated[
        str, typer.Option(help="first-light, deepbrainprint, brain-id, anatcl or similarity.")
    ] = "first-light",
    minutes: Annotated[float, typer.Option(min=0, help="Stop by the clock; 0: by steps.")] = 0.0,
    steps: Annotated[int, typer.Option(min=0, help="Stop after so many; 0: as the recipe.")] = 0,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: a hyperparameter that differs from the recipe."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(exists=True, help="Weights of the paper's authors: nothing is trained."),
    ] = None,
) -> None:
    """Train a method on generated people; a killed run goes on where it was."""
    if recipe == SIMILARITY:
        folder = _learn_thresholds(data, out)
    else:
        changes: dict[str, object] = {"minutes": minutes} if minutes else {}
        if steps:
            changes = {"steps": steps, "minutes": 0.0}  # by the clock or by steps, not both
        folder = _train(data, out, recipe, changes, change or [], weights)
    console().print(f"The method and its card are in {folder}")


def _train(
    data: Path,
    out: Path,
    name: str,
    changes: dict[str, object],
    words: list[str],
    weights: Path | None,
) -> Path:
    from rich.progress import Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from deepbrainprint.encoder.recipe import changed, named_recipe  # noqa: PLC0415
    from deepbrainprint.workflow import training  # noqa: PLC0415 — loads torch

    recipe = changed(named_recipe(name, **changes), words)
    columns = (
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console()) as progress:
        task = progress.add_task("training", words="")

        def report(step: int, total: int, figures: dict[str, float]) -> None:
            words = " ".join(f"{name} {value:.3g}" for name, value in figures.items())
            progress.update(task, completed=step, total=total, words=words)

        return training.train(data, out, recipe, report, weights)


def _learn_thresholds(data: Path, out: Path) -> Path:
    from rich.progress import Progress  # noqa: PLC0415

    from deepbrainprint.workflow import by_similarity  # noqa: PLC0415 — imaging stack

    with Progress(console=console(error=True), transient=True) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("align", "compare")}
        return by_similarity.learn(
            data,
            out,
            load_settings(),
            lambda what, done, total: bar.update(tasks[what], completed=done, total=total),
        )
