"""Sends files by dcmtk's `dcmsend`, one process for each association."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.bench.receivers import HOST, WITHOUT_DELAY, Door, dcmtk
from deepbrainprint.errors import Misconfigured

_LONGEST_SECONDS = 900.0
_SUCCESS = re.compile(r"^DIMSE Status +: 0x0000 ", re.MULTILINE)


@dataclass(frozen=True)
class Sent:
    """What the processes did together: from the start of the first to the end of the last."""

    seconds: float
    cpu_seconds: float
    successes: int


def require_sender() -> None:
    """Misconfigured with code `no_sender` when dcmsend is not there."""
    if not dcmtk("dcmsend"):
        raise Misconfigured("dcmsend is not installed: install the package dcmtk", code="no_sender")


def send(door: Door, folders: Sequence[Path]) -> Sent:
    """Send each folder on an association of its own, all at one time."""
    reports = [folder.with_suffix(".report") for folder in folders]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with ExitStack() as stack:
        senders = [
            stack.enter_context(_sender(door, *place))
            for place in zip(folders, reports, strict=True)
        ]
        stack.callback(_end, senders)
        for sender in senders:
            _await(sender, began)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sent(seconds, cpu_seconds, sum(_successes(report) for report in reports))


def _sender(door: Door, folder: Path, report: Path) -> subprocess.Popen[bytes]:
    report.unlink(missing_ok=True)
    return subprocess.Popen(
        [
            *(dcmtk("dcmsend"), "--quiet", "-aec", door.ae_title, "+crf", str(report)),
            *(HOST, str(door.port), "+sd", str(folder)),
        ],
        stdin=subprocess.DEVNULL,
        env=os.environ | WITHOUT_DELAY,
    )


def _await(sender: subprocess.Popen[bytes], began: float) -> None:
    try:
        sender.wait(max(0.1, began + _LONGEST_SECONDS - time.perf_counter()))
    except subprocess.TimeoutExpired:
        sender.kill()


def _end(senders: Sequence[subprocess.Popen[bytes]]) -> None:
    for sender in senders:
        if sender.poll() is None:
            sender.kill()


def _successes(report: Path) -> int:
    """Answers of Success; there is no report of a transfer that broke off."""
    return len(_SUCCESS.findall(report.read_text("ascii", "replace"))) if report.exists() else 0
