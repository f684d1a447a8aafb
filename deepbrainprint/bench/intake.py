"""The run: every receiver gets the same objects, one receiver at a time, in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepbrainprint.bench.cells import CELLS, Cell, room_needed
from deepbrainprint.bench.machine import machine
from deepbrainprint.bench.meter import Meter, await_quiet
from deepbrainprint.bench.objects import data_set_bytes, new_tag
from deepbrainprint.bench.ours import OurListener
from deepbrainprint.bench.receivers import (
    HOST,
    DcmtkStorescp,
    Door,
    Orthanc,
    PynetdicomApp,
    Receiver,
    first_line,
)
from deepbrainprint.bench.report import Lost, Run, found_in, other_cpu_share
from deepbrainprint.bench.senders import Sent, require_sender, send
from deepbrainprint.errors import TryAgain

RECEIVERS: dict[str, Receiver] = {
    receiver.name: receiver
    for receiver in (OurListener(), Orthanc(), DcmtkStorescp(), PynetdicomApp())
}
_WARM_UP = 8  # objects on each association before it counts
_TIMING_SECONDS = 900.0
_ATTEMPTS = 3  # at a run that others do not disturb
_DISTURBED_SHARE = 0.15  # of all processors; the kernel's own work on our behalf is in it

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to run. `folder` is where receivers and objects have their temporary folder."""

    receivers: tuple[str, ...] = tuple(RECEIVERS)
    cells: tuple[str, ...] = tuple(CELLS)
    repeat: int = 3
    scale: float = 1.0
    patience_seconds: float = 0.0  # for a quiet moment before each run
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))


def bench_intake(plan: Plan, say: Say) -> dict[str, Any]:
    """Run it all and say what was found, `say` being told of progress; a document for JSON.

    Misconfigured when dcmsend is missing, TryAgain when the disk has too little room.
    """
    require_sender()
    present = [RECEIVERS[name] for name in plan.receivers if not RECEIVERS[name].missing()]
    cells = [CELLS[name].scaled(plan.scale) for name in plan.cells]
    _require_room(plan.folder, cells)
    head = {
        "bench": "intake",
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(plan.folder),
        "method": _method(plan),
        "receivers": [{"name": one.name} | one.about() for one in present],
        "left_out": list(_left_out(plan, cells)),
        "cells": [_described(cell) for cell in cells],
    }
    runs: list[Run] = []
    lost: list[Lost] = []
    interrupted = False
    with workplace(plan.folder) as place:
        try:
            for run in _runs(plan, present, cells, place):
                say(_spoken(run))
                if isinstance(run, Lost):
                    lost.append(run)
                else:
                    runs.append(run)
        except KeyboardInterrupt:
            interrupted = True
            say("interrupted: what was measured until now follows")
    return head | {"interrupted": interrupted} | found_in(runs, lost, cells)


def _left_out(plan: Plan, cells: Sequence[Cell]) -> Iterator[dict[str, str]]:
    for name in plan.receivers:
        receiver = RECEIVERS[name]
        if missing := receiver.missing():
            yield {"receiver": name, "cell": "all", "why": f"install {missing}"}
            continue
        for cell in cells:
            if _is_too_wide(cell, receiver):
                why = f"takes at most {receiver.most_associations} associations"
                yield {"receiver": name, "cell": cell.name, "why": why}


def _is_too_wide(cell: Cell, receiver: Receiver) -> bool:
    return 0 < receiver.most_associations < len(cell.loads)


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A temporary folder; it is gone at the end, however that comes."""
    place = Path(tempfile.mkdtemp(prefix="dbp-bench-", dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _runs(
    plan: Plan, receivers: Sequence[Receiver], cells: Sequence[Cell], place: Path
) -> Iterator[Run | Lost]:
    """In turns: whatever the machine does meanwhile, it does to all."""
    for repetition in range(plan.repeat):
        for cell in cells:
            sent = place / f"{repetition}-{cell.name}"
            folders = cell.write(sent / "files", new_tag())
            turn = repetition % len(receivers)
            for receiver in (*receivers[turn:], *receivers[:turn]):
                if _is_too_wide(cell, receiver):
                    continue
                try:
                    yield _undisturbed(
                        _run(receiver, cell, repetition, folders, each, plan.patience_seconds)
                        for each in _places(sent, receiver)
                    )
                except TryAgain as error:
                    yield Lost(receiver.name, cell.name, repetition, str(error))
            _empty(sent)


def _places(folder: Path, receiver: Receiver) -> Iterator[Path]:
    """A folder for each attempt."""
    return (folder / f"{receiver.name}-{attempt}" for attempt in range(_ATTEMPTS))


def _undisturbed(attempts: Iterable[Run]) -> Run:
    """The first run in which others took next to nothing of the machine, else the best one."""
    best = None
    for run in attempts:
        if best is None or other_cpu_share(run) < other_cpu_share(best):
            best = run
        if other_cpu_share(best) <= _DISTURBED_SHARE:
            break
    if best is None:
        raise AssertionError
    return best


def _run(  # noqa: PLR0913, PLR0917 — who, what, which time, where
    receiver: Receiver,
    cell: Cell,
    repetition: int,
    folders: list[Path],
    place: Path,
    patience_seconds: float,
) -> Run:
    warm_up = Cell("warm-up", tuple(_warm(cell)))
    timed = cell.timed()
    with receiver.running(place) as door:
        send(door, warm_up.write(place / "warm-up", new_tag()))
        os.sync()  # what others left to be written must not be written on our time
        await_quiet(patience_seconds)
        with Meter(door.processes) as meter:
            sent = send(door, folders)
        answers, failures = _time(door, timed)
        wrong = _wrong(door, [cell, timed, warm_up], sent, cell, failures)
    _empty(place)
    return Run(receiver.name, cell.name, repetition, sent, meter.usage, answers, wrong)


def _empty(folder: Path) -> None:
    """Give the room back, but leave the files.

    While files were deleted within minutes, ext4 searches long for an inode to make a new one
    with: a millisecond and more, which whoever comes next would pay.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)


def _warm(cell: Cell) -> Iterator[Any]:
    for load in cell.loads:
        yield type(load)(load.kind, 1 if load.kind.frames else _WARM_UP)


def _time(door: Door, cell: Cell) -> tuple[dict[str, list[float]], int]:
    """Seconds to each response by kind of object, and how many were no Success."""
    order = {
        "host": HOST,
        "port": door.port,
        "ae_title": door.ae_title,
        "tag": new_tag(),
        "loads": [{"kind": load.kind.name, "count": load.count} for load in cell.loads],
    }
    done = subprocess.run(
        [sys.executable, "-m", "deepbrainprint.bench.probe"],
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=_TIMING_SECONDS,
    )
    if done.returncode:
        return {}, cell.instances
    answers: dict[str, list[float]] = {}
    found = json.loads(done.stdout)
    for timed in found:
        answers.setdefault(timed["kind"], []).extend(timed["seconds"])
    return answers, sum(timed["failures"] for timed in found)


def _wrong(door: Door, sent_cells: list[Cell], sent: Sent, cell: Cell, failures: int) -> str:
    """Every answer must be Success, and what was sent must be there."""
    instances = sum(each.instances for each in sent_cells)
    held = door.held()
    faults = []
    if sent.successes != cell.instances:
        faults.append(f"{cell.instances - sent.successes} of dcmsend's objects without Success")
    if failures:
        faults.append(f"{failures} timed objects without Success")
    if (held.instances, held.records) != (instances, instances):
        faults.append(f"holds {held.instances} files and {held.records} records of {instances}")
    if held.size_bytes < sum(each.pixel_bytes for each in sent_cells):
        faults.append("holds fewer bytes than pixels were sent")
    return "; ".join(faults)


def _spoken(run: Run | Lost) -> str:
    words = f"{run.repetition + 1}. {run.cell:<14} {run.receiver:<11}"
    if isinstance(run, Lost):
        return f"{words} FAILED: {run.wrong}"
    words += f" {run.sent.successes / run.sent.seconds:7.0f} instances/s"
    words += f", {other_cpu_share(run):4.0%} of the machine with others"
    return f"{words}  WRONG: {run.wrong}" if run.wrong else words


def _described(cell: Cell) -> dict[str, object]:
    return {
        "name": cell.name,
        "associations": len(cell.loads),
        "instances": cell.instances,
        "size_bytes": cell.size_bytes,
        "loads": [
            {"set": load.kind.name, "objects": load.kind.words, "count": load.count}
            | {"data_set_bytes": data_set_bytes(load.kind)}
            for load in cell.loads
        ],
    }


def _method(plan: Plan) -> dict[str, object]:
    return {
        **asdict(plan),
        "sender": f"{first_line('dcmsend', '--version')}; one process an association, all at once",
        "environment": "TCP_NODELAY=1 for senders and receivers",
        "seconds": "from the start of the first dcmsend to the end of the last",
        "fresh": "each run has a newly started, empty receiver; receivers take turns, and all "
        "have their folder on one disk; files are deleted only at the very end, because ext4 "
        "makes new files slowly for minutes after many were deleted",
        "warm_up": f"{_WARM_UP} slices or 1 multi-frame object on each association, not counted; "
        "then sync of all disks",
        "responses": "timed after that by a sender of our own, the same for all: association "
        "request encoded by pynetdicom, then one process with a blocking socket for each "
        "association; from the last byte handed to the kernel to the response read; at most "
        "1,000 slices or 20 multi-frame objects over all associations",
        "processor_time": "of all of the receiver's processes, ours with PostgreSQL's; gigabytes "
        "are 10^9 bytes of data sets",
        "others": f"runs in which others took more than {_DISTURBED_SHARE:.0%} of the machine are "
        f"made again, at most {_ATTEMPTS} times in all; the least disturbed counts",
        "memory": "resident, sampled each 0.2 s while dcmsend sends; pages that processes share "
        "count for each of them, PostgreSQL's shared buffers too",
        "checked": "every answer was Success, and files, records and bytes at the end are those "
        "sent",
    }


def _require_room(folder: Path, cells: Sequence[Cell]) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise TryAgain(f"--folder: {error.strerror}: choose another") from None
    if free < room_needed(cells):
        raise TryAgain(
            f"the bench needs {room_needed(cells) >> 30} GB free under {folder}: free space, "
            "choose another --folder, or make it smaller with --scale",
            code="disk_full",
        )
