"""`deepbrainprint quality`: what happened to a scan or study, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from deepbrainprint.cli.desk import AsJson, Home, settings_of
from deepbrainprint.cli.output import console, show_json
from deepbrainprint.records import StudyId

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepbrainprint.workflow.quality.inspection import Inspection
    from deepbrainprint.workflow.quality.story import Step, Story

FAILED = 1
_COLOURS = {"pass": "green", "flag": "yellow", "fail": "red"}
_MARKS = {
    "done": "[green]✓[/green]",
    "doubtful": "[yellow]![/yellow]",
    "refused": "[red]✗[/red]",
    "not reached": "–",
}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(quality)


def quality(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="NIfTI files, DICOM folders or DICOM files."),
    ] = None,
    study: Annotated[
        list[int] | None, typer.Option(help="A study that the service received, by its number.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw a report of each input into this folder, as HTML.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="With --out: as PNG instead.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw all inputs into this PNG, a row for each scan.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say what happened to a scan step by step, why it was refused, and what to do.

    Verdicts are PASS, FLAG (a person decides whose brain it is) and FAIL. The exit code is 1 if
    any input failed. Neither database nor stack is needed, except with --study.
    """
    _refuse_wrong_use(paths, study, out, png=png)
    from deepbrainprint.workflow.quality import document  # noqa: PLC0415 — loads the imaging stack
    from deepbrainprint.workflow.quality.sheet import rows  # noqa: PLC0415
    from deepbrainprint.workflow.quality.story import told  # noqa: PLC0415

    found: list[dict[str, Any]] = []
    drawn: list[Image] = []
    for inspection in _inspections(paths or [], study or [], home):
        story = told(inspection)
        report = None if out is None else _draw(story, out, len(found) + 1, png=png)
        found.append(document.input_of(story, report))
        drawn += rows(story) if sheet is not None else []
        if not as_json:
            _say(story, report)
    if sheet is not None:
        _save_sheet(drawn, sheet, as_json=as_json)
    if as_json:
        show_json(document.document_of(found, sheet))
    if any(one["verdict"] == "fail" for one in found):
        raise typer.Exit(FAILED)


def _refuse_wrong_use(
    paths: list[Path] | None, study: list[int] | None, out: Path | None, *, png: bool
) -> None:
    if not paths and not study:
        raise typer.BadParameter("name a NIfTI file or DICOM folder, or a study with --study")
    if png and out is None:
        raise typer.BadParameter("--png needs --out, the folder to draw into")


def _inspections(
    paths: Sequence[Path], studies: Sequence[int], home: Path | None
) -> Iterator[Inspection]:
    """One after the other: pixels are held of one input at a time."""
    from deepbrainprint.imaging.strip import chosen  # noqa: PLC0415 — these bring torch
    from deepbrainprint.workflow.quality.inspection import inspect_path  # noqa: PLC0415

    settings = settings_of(home)
    stripper = chosen(settings.synthstrip_path)
    yield from (inspect_path(path, stripper) for path in paths)
    if studies:
        from deepbrainprint.workflow.quality.received import inspect_study  # noqa: PLC0415

        yield from (inspect_study(settings, StudyId(number)) for number in studies)


def _draw(story: Story, folder: Path, number: int, *, png: bool) -> Path:
    """Write a report; its name is a number, for a name given by people may be a patient's."""
    from deepbrainprint.imaging import drawing  # noqa: PLC0415
    from deepbrainprint.workflow.quality import page, sheet  # noqa: PLC0415

    path = folder / f"quality-{number}.{'png' if png else 'html'}"
    if png:
        drawing.save(sheet.report(story), path)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(page.page(story), encoding="utf-8")
    return path


def _save_sheet(drawn: Sequence[Image], path: Path, *, as_json: bool) -> None:
    from deepbrainprint.imaging import drawing  # noqa: PLC0415

    drawing.save(drawing.stacked(drawn), path)
    if not as_json:
        console().print(f"contact sheet: {path}")


def _say(story: Story, report: Path | None) -> None:
    from deepbrainprint.workflow.quality.story import series_words  # noqa: PLC0415

    out = console()
    verdict = story.inspection.verdict.value
    colour = _COLOURS[verdict]
    out.print(f"[bold]{escape(story.inspection.name)}[/bold]")
    out.print(f"  [{colour}]{verdict.upper()}[/{colour}]  {escape(story.headline)}")
    if story.choice is not None:
        _say_step(out, story.choice)
    for choice in story.inspection.series:
        out.print(f"        {escape(series_words(choice))}")
    for scan in story.scans:
        if len(story.scans) > 1:
            out.print(f"  {scan.title}: {scan.inspected.verdict.value.upper()}")
        for step in scan.steps:
            _say_step(out, step)
    _say_end(out, story, report)


def _say_step(out: Console, step: Step) -> None:
    seconds = "" if step.seconds is None else f"  {step.seconds:.1f} s"
    words = " ".join(step.words)
    out.print(f"    {_MARKS[step.outcome.value]} {step.name:<11} {escape(words)}{seconds}")
    for figure in step.figures:
        mark = "" if figure.good else "  [yellow]![/yellow]"
        out.print(f"        {figure.label:<19} {figure.shown:>9}   {figure.limits}{mark}")


def _say_end(out: Console, story: Story, report: Path | None) -> None:
    for reason in story.reasons:
        out.print(f"    why:  {escape(reason)}")
    for words in story.advice:
        out.print(f"    next: {escape(words)}")
    if story.inspection.recorded:
        out.print(f"    the service recorded: {escape(story.inspection.recorded)}")
    if report is not None:
        out.print(f"    report: {escape(str(report))}")
