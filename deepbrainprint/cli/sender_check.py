"""`deepbrainprint check-sender`: a checklist for whoever stands at the scanner."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from deepbrainprint.cli.desk import AsJson, settings_of
from deepbrainprint.cli.output import console, show_json
from deepbrainprint.intake.tls import TlsFiles, client_context_of, server_context
from deepbrainprint.settings import Settings

if TYPE_CHECKING:
    from deepbrainprint.intake.peer import Peer
    from deepbrainprint.intake.sender_check.steps import Finding

_MARKS = {"ok": "[green]✓[/green]", "failed": "[red]✗[/red]", "skipped": "[yellow]–[/yellow]"}
_NAMES = ("--certificate", "--key", "--authority")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("check-sender")(check_sender)


def check_sender(
    host: Annotated[str, typer.Option(help="Where the receiver is.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its DICOM port; else our own.", min=0)] = 0,
    called_ae: Annotated[str, typer.Option(help="Its AE title; else our own.")] = "",
    calling_ae: Annotated[str, typer.Option(help="AE title of the modality.")] = "CHECK_SENDER",
    tls: Annotated[bool, typer.Option("--tls", help="Speak DICOM over TLS.")] = False,
    authority: Annotated[
        Path | None, typer.Option(help="Whose certificates to trust (PEM); else the machine's.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Certificate that the modality shows (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    any_host: Annotated[
        bool, typer.Option("--any-host", help="Take a certificate of another host name.")
    ] = False,
    report_port: Annotated[
        int, typer.Option(help="Port for commitment reports on a new association.", min=0)
    ] = 0,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for an answer or report.", min=0.1)
    ] = 15.0,
    home: Annotated[Path | None, typer.Option(help="Home whose listener to check.")] = None,
    as_json: AsJson = False,
) -> None:
    """Do what a new modality would do, and explain in words whatever does not work.

    Sends a tiny test image of nobody (patient CONNECTION-TEST, modality OT). All checks together
    make one study, which the pipeline leaves aside as not applicable.
    """
    from deepbrainprint.intake.peer import Peer  # noqa: PLC0415
    from deepbrainprint.intake.sender_check import steps as check  # noqa: PLC0415 — pynetdicom

    settings = settings_of(home)
    files = TlsFiles(certificate, key, authority, *_NAMES)
    peer = Peer(
        host,
        port or (settings.tls_port if tls else settings.listener_port),
        called_ae or settings.ae_title,
        calling_ae,
        client_context_of(files, any_host=any_host) if tls else None,
        connect_seconds=patience,
        answer_seconds=patience,
    )
    steps = check.check_sender(
        peer,
        report_port=report_port,
        report_tls=_report_tls(settings, files) if tls else None,
        report_seconds=patience,
    )
    findings = []
    for finding in steps:
        findings.append(finding)
        if not as_json:
            _say(finding)
    well = check.all_well(findings)
    _conclude(peer, findings, well=well, as_json=as_json)
    if not well:
        raise typer.Exit(1)


def _report_tls(settings: Settings, files: TlsFiles) -> ssl.SSLContext | None:
    """What to speak when the receiver calls back: TLS, where the modality has a certificate."""
    if files.certificate is None:
        return None
    shown = {"tls_certificate": files.certificate, "tls_key": files.key}
    return server_context(settings.model_copy(update=shown | {"tls_client_authority": None}))


def _say(finding: Finding) -> None:
    out = console()
    out.print(f"{_MARKS[finding.outcome]} {finding.step:<12} {escape(finding.words)}")
    if finding.fix:
        out.print(f"{'':15}→ {escape(finding.fix)}")


def _conclude(peer: Peer, findings: list[Finding], *, well: bool, as_json: bool) -> None:
    if as_json:
        show_json(_document(peer, findings, well=well))
        return
    if well:
        missing = [f.step for f in findings if f.code]
        words = f"All is well: {peer.calling_ae} can send to {peer}."
        if missing:
            words += f" Not offered: {', '.join(missing)}."
        console().print(f"\n{words}", style="green", markup=False)
    else:
        words = f"Not ready: {peer.calling_ae} at {peer}. Mend the first ✗, then check again."
        console().print(f"\n{words}", style="red", markup=False)


def _document(peer: Peer, findings: list[Finding], *, well: bool) -> dict[str, Any]:
    return {
        "all_well": well,
        "host": peer.host,
        "port": peer.port,
        "called_ae": peer.called_ae,
        "calling_ae": peer.calling_ae,
        "tls": peer.tls is not None,
        "findings": findings,
    }
