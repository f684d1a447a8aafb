"""Commands on single scans, without a database: fingerprint, compare, simulate, train."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepbrainprint.cli.desk import AsJson
from deepbrainprint.cli.output import console, show, show_json, table
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.records import Contrast, Reason
from deepbrainprint.settings import load_settings

if TYPE_CHECKING:
    from deepbrainprint.simulation.cohort import Manifest
    from deepbrainprint.workflow.comparing import Comparison

ENCODER = "encoder"
SPOKEN = {
    Reason.SERIES_DISAGREE.value: "The series disagree.",
    Reason.BETWEEN_THRESHOLDS.value: "The evidence lies between the thresholds.",
}
Method = Annotated[str, typer.Option(help="What makes the fingerprint; `encoder` is the default.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(fingerprint)
    app.command()(compare)
    app.command()(simulate)
    app.command()(train)


def fingerprint(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="NIfTI files or DICOM folders.")],
    method: Method = ENCODER,
    out: Annotated[Path | None, typer.Option(help="Write the vectors to this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn scans into fingerprints; a scan that cannot be used does not stop the others."""
    from deepbrainprint.workflow import fingerprinting  # noqa: PLC0415 — loads the imaging stack

    _refuse_unknown(method)
    made, refused = fingerprinting.fingerprint_all(load_settings(), paths)
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
    from deepbrainprint.workflow import comparing  # noqa: PLC0415 — loads the imaging stack

    _refuse_unknown(method)
    comparison = comparing.compare(
        load_settings(), (a, b), contrasts=(contrast_a, contrast_b), png=png
    )
    if as_json:
        show_json(comparison)
        return
    _say_comparison(comparison)


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


def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write the studies and manifest.csv to.")],
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 1,
    visits: Annotated[int, typer.Option(min=1, help="How often each is scanned.")] = 1,
    contrast: Annotated[
        list[Contrast] | None, typer.Option(help="Contrast; several: one per visit in turn.")
    ] = None,
    voxel_mm: Annotated[
        tuple[float, float, float], typer.Option(help="Voxel size: in plane twice, then slice.")
    ] = (1.2, 1.2, 1.2),
    orientation: Annotated[str, typer.Option(help="axial, sagittal or coronal.")] = "axial",
    format_: Annotated[str, typer.Option("--format", help="dicom or nifti.")] = "dicom",
    motion: Annotated[float, typer.Option(min=0, max=1, help="0 none, 1 severe.")] = 0.0,
    ageing_years: Annotated[float, typer.Option(min=0, help="Between two visits.")] = 0.0,
    compress: Annotated[bool, typer.Option(help="RLE lossless instead of uncompressed.")] = False,
    late_images: Annotated[int, typer.Option(min=0, help="Send so many after a pause.")] = 0,
    late_seconds: Annotated[float, typer.Option(min=0, help="The pause before them.")] = 90.0,
    duplicate: Annotated[bool, typer.Option(help="Send everything twice.")] = False,
    wrong_patient_id: Annotated[
        bool, typer.Option(help="Later visits come under another patient id.")
    ] = False,
    nifti: Annotated[
        list[Path] | None, typer.Option(help="Scan these NIfTI files instead of making people.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same people.")] = 0,
    send: Annotated[str, typer.Option(help="HOST:PORT to send the studies to by C-STORE.")] = "",
    called_ae: Annotated[str, typer.Option(help="AE title to call.")] = "DEEPBRAINPRINT",
    calling_ae: Annotated[str, typer.Option(help="AE title to call from.")] = "SIMULATOR",
    rate: Annotated[float, typer.Option(min=0, help="Instances a second; 0 is full speed.")] = 0.0,
) -> None:
    """Scan synthetic people, write valid DICOM studies and send them."""
    from deepbrainprint.simulation import cohort  # noqa: PLC0415 — loads the template

    address = _address(send)
    request = cohort.Request(
        out=out,
        people=people,
        visits=visits,
        contrasts=tuple(contrast or (Contrast.T1W,)),
        voxel_mm=voxel_mm,
        orientation=orientation,
        format=format_,
        motion=motion,
        ageing_years=ageing_years,
        compress=compress,
        nifti=tuple(nifti or ()),
        seed=seed,
        late_images=late_images,
        duplicate=duplicate,
        wrong_patient_id=wrong_patient_id,
    )
    manifest = cohort.simulate(request, report=console().print)
    if address is not None:
        _deliver(manifest, address, (called_ae, calling_ae), rate=rate, pause=late_seconds)


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter("--send takes HOST:PORT, for example 127.0.0.1:11112")
    return host, int(port)


def _deliver(
    manifest: Manifest,
    address: tuple[str, int],
    titles: tuple[str, str],
    *,
    rate: float,
    pause: float,
) -> None:
    from deepbrainprint.intake import sender  # noqa: PLC0415 — pynetdicom

    deliveries = list(manifest.deliveries())
    late_from = len(deliveries) - len(manifest.scans) if manifest.late_images else len(deliveries)
    for number, files in enumerate(deliveries):
        if number == late_from:
            console().print(f"The late images follow in {pause:.0f} s.")
            time.sleep(pause)
        sent = sender.send(
            files,
            host=address[0],
            port=address[1],
            called_ae=titles[0],
            calling_ae=titles[1],
            rate=rate or None,
        )
        console().print(str(sent))


def train(
    data: Annotated[Path, typer.Option(help="Folder with t1w/ and labels/ to learn from.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, curves and card.")],
    recipe: Annotated[str, typer.Option(help="Named set of hyperparameters.")] = "first-light",
    minutes: Annotated[float, typer.Option(min=0, help="Stop by the clock; 0: by steps.")] = 0.0,
    steps: Annotated[int, typer.Option(min=0, help="Stop after so many; 0: as the recipe.")] = 0,
) -> None:
    """Train an encoder on generated people; a killed run goes on where it was."""
    from rich.progress import Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from deepbrainprint.encoder.recipe import named_recipe  # noqa: PLC0415
    from deepbrainprint.workflow import training  # noqa: PLC0415 — loads torch

    changes: dict[str, float] = {"minutes": minutes} if minutes else {}
    if steps:
        changes = {"steps": steps, "minutes": 0.0}  # by the clock or by steps, not both
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

        folder = training.train(data, out, named_recipe(recipe, **changes), report)
    console().print(f"The encoder and its card are in {folder}")


def _refuse_unknown(method: str) -> None:
    if method != ENCODER:
        raise Misconfigured(
            f"no method is called {method}: choose {ENCODER}", code="unknown_method"
        )
