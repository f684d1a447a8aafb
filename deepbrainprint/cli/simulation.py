"""`deepbrainprint simulate`: people who do not exist, scanned, written and sent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepbrainprint.cli.output import console
from deepbrainprint.records import Contrast

if TYPE_CHECKING:
    from deepbrainprint.simulation.cohort import Manifest, Request
    from deepbrainprint.simulation.followup import FollowUp

DRAWN_WITH_LIFE = ("voxel_mm", "orientation", "motion", "ageing_years", "nifti")
ONLY_WITH_LIFE = ("years", "bare", "workers")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(simulate)


def simulate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder to write the studies and manifest.csv to.")],
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 1,
    visits: Annotated[int, typer.Option(min=1, help="How often each is scanned.")] = 1,
    contrast: Annotated[
        list[Contrast] | None, typer.Option(help="Contrast; several: one per visit in turn.")
    ] = None,
    life: Annotated[
        bool,
        typer.Option(
            "--life", help="People who age and fall ill, on six scanners; all drawn by the seed."
        ),
    ] = False,
    years: Annotated[
        float, typer.Option(min=0, help="With --life: from the first visit to the last.")
    ] = 10.0,
    bare: Annotated[
        bool, typer.Option("--bare", help="With --life: brains as a skull stripper leaves them.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="With --life: so many people at one time.")
    ] = 1,
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
    """Scan synthetic people, write valid DICOM studies or NIfTI files, and send them.

    With --life the people age, lose cortex and get lesions, and each visit is on one of several
    scanners with its own protocols and faults. A call that was stopped goes on.
    """
    from deepbrainprint.simulation import cohort, followup  # noqa: PLC0415 — loads the template

    _refuse_what_does_not_go(context, life=life)
    address = _address(send)
    if life:
        manifest = _follow_up(
            followup.FollowUp(
                out=out,
                people=people,
                visits=visits,
                years=years,
                contrasts=tuple(contrast or ()),
                bare=bare,
                format=format_,
                compress=compress,
                seed=seed,
                workers=workers,
                late_images=late_images,
                duplicate=duplicate,
                wrong_patient_id=wrong_patient_id,
            )
        )
    else:
        manifest = _scan(
            cohort.Request(
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
        )
    if address is not None:
        _deliver(manifest, address, (called_ae, calling_ae), rate=rate, pause=late_seconds)


def _refuse_what_does_not_go(context: typer.Context, *, life: bool) -> None:
    """Options that would be ignored are refused."""
    ignored = DRAWN_WITH_LIFE if life else ONLY_WITH_LIFE
    for name in ignored:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            why = "is drawn for each visit with --life" if life else "goes with --life"
            raise typer.BadParameter(f"{option} {why}")


def _scan(request: Request) -> Manifest:
    from deepbrainprint.simulation import cohort  # noqa: PLC0415 — loads the template

    return cohort.simulate(request, report=console().print)


def _follow_up(request: FollowUp) -> Manifest:
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    from deepbrainprint.simulation import followup  # noqa: PLC0415 — loads the template

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task("scans", total=request.people * request.visits)
        manifest = followup.follow_up(
            request, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    console().print(f"{len(manifest.scans)} scans are listed in {manifest.path}")
    return manifest


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
