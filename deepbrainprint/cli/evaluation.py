"""`deepbrainprint evaluate`: methods side by side on scans whose person is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.desk import AsJson
from deepbrainprint.cli.output import console, show, show_json
from deepbrainprint.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(evaluate)


def evaluate(
    manifest: Annotated[
        Path, typer.Argument(exists=True, help="CSV: path,subject,session,contrast[,dataset,…].")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.json and report.html.")],
    methods: Annotated[str, typer.Option(help="Separated by commas.")] = "encoder,similarity",
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Folder to take for `encoder`, or NAME=FOLDER for one more line."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of aligned brains to reuse.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Aligned at one time; 0: by cores.")] = 0,
    saliency: Annotated[
        bool, typer.Option(help="Map where each method's scores come from.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Measure methods on scans whose person is known; a call that was stopped goes on."""
    from rich.progress import Progress  # noqa: PLC0415 — only here

    from deepbrainprint.workflow.evaluating import evaluation  # noqa: PLC0415 — imaging stack
    from deepbrainprint.workflow.methods import ENCODER, opened  # noqa: PLC0415

    settings = load_settings()
    folders = dict(_named(word) for word in encoder or ())
    names = dict.fromkeys([*(name.strip() for name in methods.split(",")), *folders])
    chosen = {
        name: opened(ENCODER, settings, folders[name])
        if name in folders
        else opened(name, settings)
        for name in names
    }
    plan = evaluation.Plan(chosen, cache, workers, settings.synthstrip_path, saliency)
    with Progress(console=console(error=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        document = evaluation.evaluate(manifest, out, plan, progress)
    if as_json:
        show_json(document)
        return
    lines = [
        {"method": name} | _line(group)
        for name, one in document["methods"].items()
        for group in one["groups"]
    ]
    show(lines, as_json=False, empty="Nobody was scanned twice: there is nothing to find again.")
    for one in document["refused"]:
        console().print(f"{one['path']}: left out: {one['reason']}", style="yellow")
    console().print(f"{out / 'report.html'} shows it with pictures.")


def _named(word: str) -> tuple[str, Path]:
    """Return what NAME=FOLDER, or FOLDER alone, means."""
    name, _, folder = word.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise typer.BadParameter(f"--encoder: there is no folder {folder}")
    return name or "encoder", path


def _line(group: dict[str, Any]) -> dict[str, str]:
    def percent(key: str) -> str:
        value, low, high = (100 * group[key][part] for part in ("value", "low", "high"))
        return f"{value:.1f} ({low:.0f}–{high:.0f})"

    return {
        "probes → gallery": group["group"],
        "probes": str(group["probes"]),
        "people": str(group["people"]),
        "rank 1, %": percent("rank_1"),
        "recall@3, %": percent("recall_at_3"),
        "mAP@3, %": percent("map_at_3"),
        "EER, %": f"{100 * group['equal_error_rate']:.1f}",
    }
