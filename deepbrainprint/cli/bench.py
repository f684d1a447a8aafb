"""`deepbrainprint bench`: speed, each beside its peers, in one run on one machine."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.ablation import ablate
from deepbrainprint.cli.desk import AsJson
from deepbrainprint.cli.output import console, show_json, table

_MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[yellow]–[/yellow]"}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    benches = typer.Typer(
        name="bench", help="Measure speed, each thing beside its peers.", no_args_is_help=True
    )
    benches.callback()(_benches)
    benches.command()(intake)
    benches.command()(imaging)
    benches.command()(encode)
    benches.command("train")(ablate)
    app.add_typer(benches)


def _benches() -> None:
    """Measure speed, each thing beside its peers, in one run on this machine."""


def intake(
    receivers: Annotated[
        str, typer.Option(help="Only these, separated by commas: ours,orthanc,dcmtk,pynetdicom.")
    ] = "",
    cells: Annotated[str, typer.Option(help="Only these, for instance slices-1,mixed-4.")] = "",
    repeat: Annotated[int, typer.Option(help="Repetitions of each.", min=1)] = 3,
    scale: Annotated[float, typer.Option(help="So many times as many objects.", min=0.001)] = 1.0,
    folder: Annotated[
        Path, typer.Option(help="Folder whose disk is used; all is removed at the end.")
    ] = Path("/var/tmp"),  # noqa: S108 — /tmp is memory on many machines, and this measures disks
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for a quiet moment before each run.", min=0)
    ] = 20.0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say line by line where receivers spend their time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send the same objects to our listener and to others: speed, processor time, memory."""
    from deepbrainprint.bench.intake import Plan, bench_intake  # noqa: PLC0415 — pynetdicom
    from deepbrainprint.bench.profile import profile_intake  # noqa: PLC0415

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script's background too
    if profile:
        _show_profile(profile_intake(folder, scale, _say), as_json=as_json)
        return
    chosen = {"receivers": _chosen("receivers", receivers), "cells": _chosen("cells", cells)}
    named = {name: names for name, names in chosen.items() if names}
    plan = Plan(repeat=repeat, scale=scale, patience_seconds=patience, folder=folder, **named)
    document = bench_intake(plan, _say)
    if as_json:
        show_json(document)
    else:
        _show(document)
    if document["failures"] or document["interrupted"]:
        raise typer.Exit(1)


def imaging(
    data: Annotated[
        Path, typer.Option(help="Folder with t1w, t1_t2, repeat and labels, or some of them.")
    ],
    size: Annotated[
        str, typer.Option(help="smoke (does it run), quick (minutes) or full (hours).")
    ] = "quick",
    parts: Annotated[
        str,
        typer.Option(help="Only these: repeatability,agreement,starts,masks,speed,peers."),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the worst cases.")
    ] = None,
    fault: Annotated[
        str,
        typer.Option(
            "--break",
            help="Put a fault in on purpose, which must be noticed: flip (the template) or "
            "orientation (voxels left in the order of the file).",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Measure how right and how fast imaging is, against truths, an outside judge and peers."""
    from deepbrainprint.bench.imaging.workload import (  # noqa: PLC0415 — light, unlike the rest
        FAULTS,
        PARTS,
        SIZES,
        UNTIMED,
    )

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    _require("--size", size, tuple(SIZES))
    _require("--break", fault, ("", *FAULTS))
    named = tuple(part.strip() for part in parts.split(",") if part.strip())
    for part in named:
        _require("--parts", part, PARTS)
    chosen = named or (UNTIMED if fault else PARTS)
    from deepbrainprint.bench.imaging.benchmark import (  # noqa: PLC0415 — torch, SimpleITK
        Plan,
        bench_imaging,
    )

    document = bench_imaging(Plan(data, size, chosen, fault, out), _say)
    if as_json:
        show_json(document)
    else:
        _show_imaging(document)
    if document["failed"] or document["interrupted"]:
        raise typer.Exit(1)


def encode(
    size: Annotated[
        str, typer.Option(help="smoke (does it run) or full (a quarter of an hour).")
    ] = "full",
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Folder made by `deepbrainprint train`. Left out: the published network with "
            "random weights, and the encoder that comes with the package."
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for a quiet moment before each encoder.", min=0)
    ] = 20.0,
    out: Annotated[Path | None, typer.Option(help="Write the JSON document there too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Encode the same brains with every runtime: speed, exactness, time to load, memory."""
    from deepbrainprint.bench.encode.workload import SIZES  # noqa: PLC0415 — light

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    _require("--size", size, tuple(SIZES))
    from deepbrainprint.bench.encode.benchmark import Plan, bench_encode  # noqa: PLC0415 — torch

    document = bench_encode(Plan(size, encoder, patience), _say)
    if out is not None:
        out.write_text(json.dumps(document, indent=1) + "\n")
    if as_json:
        show_json(document)
    else:
        _show_encode(document)
    if document["failed"] or document["interrupted"]:
        raise typer.Exit(1)


def _require(option: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        names = ", ".join(filter(None, known))
        raise typer.BadParameter(f"{word} is none of {names}", param_hint=option)


def _chosen(option: str, text: str) -> tuple[str, ...]:
    from deepbrainprint.bench.cells import CELLS  # noqa: PLC0415
    from deepbrainprint.bench.intake import RECEIVERS  # noqa: PLC0415

    known = {"receivers": tuple(RECEIVERS), "cells": tuple(CELLS)}[option]
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name} is none of {', '.join(known)}", param_hint=option)
    return names


def _say(words: str) -> None:
    console(error=True).print(words, markup=False)


def _show(document: dict[str, Any]) -> None:
    out = console()
    for cell in document["cells"]:
        rows = [_line(result) for result in document["results"] if result["cell"] == cell["name"]]
        title = (
            f"{cell['name']}: {cell['instances']} objects, {cell['size_bytes'] / 1e6:.0f} MB, "
            f"{cell['associations']} associations"
        )
        out.print(table(rows, title=f"\n{title}"))
    out.print("\nGoals")
    for goal in document["goals"]:
        out.print(f"{_MARKS[goal['holds']]} {goal['goal']}: {_found(goal)}")
    _say_rest(document)


def _say_rest(document: dict[str, Any]) -> None:
    out, machine = console(), document["machine"]
    for left_out in document["left_out"]:
        words = "Left out: {receiver}, cells: {cell} ({why})".format_map(left_out)
        out.print(words, markup=False)
    for failure in document["failures"]:
        words = "{receiver}, {cell}, repetition {repetition}: {wrong}".format_map(failure)
        out.print(words, style="red", markup=False)
    out.print(
        f"\n{machine['cores']} cores of {machine['processor']}, {machine['file_system']}, "
        f"Linux {machine['kernel']}; medians of {document['method']['repeat']}, spread in --json",
        markup=False,
    )


def _show_imaging(document: dict[str, Any]) -> None:
    from deepbrainprint.bench.imaging.rows import rows  # noqa: PLC0415

    out, machine = console(), document["machine"]
    for part, found in document["parts"].items():
        if listed := rows(found["figures"]):
            out.print(table(listed, title=f"\n{part}, {found['seconds']:.0f} s"))
    out.print("\nGoals")
    for goal in document["goals"]:
        found = "not measured" if goal["holds"] is None else f"{goal['found']:.3f}"
        out.print(f"{_MARKS[goal['holds']]} {goal['part']}: {goal['goal']}: {found}")
    for left_out in document["left_out"]:
        out.print("Left out of {part}: {why}".format_map(left_out), markup=False)
    out.print(
        f"\n{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}; "
        f"size {document['method']['size']}, single cases in --json",
        markup=False,
    )


def _show_encode(document: dict[str, Any]) -> None:
    from deepbrainprint.bench.encode.tables import left_out, openings, speeds  # noqa: PLC0415

    out, machine = console(), document["machine"]
    for network in document["networks"]:
        name = network["name"]
        out.print(table(speeds(document, name), title=f"\n{name}: ms for one scan, by batch size"))
        out.print(table(openings(document, name), title=f"\n{name}: opening, memory, exactness"))
    out.print("\nGoals")
    for goal in document["goals"]:
        found = "not measured" if goal["holds"] is None else f"{goal['found']:.6g}"
        out.print(f"{_MARKS[goal['holds']]} {goal['goal']}: {found}, bound {goal['bound']:g}")
    for words in left_out(document):
        out.print(words, markup=False)
    out.print(
        f"\n{document['method']['cores_used']} of {machine['cores']} cores of "
        f"{machine['processor']}, Linux {machine['kernel']}; medians of "
        f"{document['method']['rounds']} rounds, spread in --json; others took "
        f"{100 * document['others_share_of_busy']:.0f} % of what the cores did",
        markup=False,
    )


def _line(result: dict[str, Any]) -> dict[str, Any]:
    def median(name: str) -> float | None:
        return result[name]["median"] if name in result else None

    kinds = [name for name in ("slices", "multiframe") if f"{name}_response_p50_ms" in result]
    responses = {
        f"{kind} {rank} ms": _rounded(median(f"{kind}_response_{rank}_ms"), 1)
        for kind in kinds
        for rank in ("p50", "p99")
    }
    return {
        "receiver": result["receiver"],
        "instances/s": _rounded(median("instances_per_second")),
        "MB/s": _rounded(median("mb_per_second")),
        "CPU s/GB": _rounded(median("cpu_seconds_per_gb"), 2),
        **responses,
        "peak MB": _rounded(median("peak_rss_mb")),
        "largest MB": _rounded(median("peak_process_rss_mb")),
    }


def _rounded(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _found(goal: dict[str, Any]) -> str:
    if goal["holds"] is None:
        return "not measured"
    return f"{goal['found']:.1f}, bound {goal['bound']:.1f}"


def _show_profile(rows: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    listed = list(rows)
    if as_json:
        show_json(listed)
        return
    for receiver in dict.fromkeys(row["receiver"] for row in listed):
        mine = [row for row in listed if row["receiver"] == receiver]
        shown = [{k: v for k, v in row.items() if k != "receiver"} for row in mine]
        console().print(table(shown, title=f"\n{receiver}"))
