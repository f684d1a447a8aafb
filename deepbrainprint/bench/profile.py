"""Line by line where receivers spend their time while slices come on 1 and 4 associations."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepbrainprint.bench.cells import CELLS
from deepbrainprint.bench.intake import Say, workplace
from deepbrainprint.bench.objects import new_tag
from deepbrainprint.bench.ours import OurListener
from deepbrainprint.bench.receivers import Door, Held, Receiver, free_port, part, process
from deepbrainprint.bench.sampling import FOLDER_VARIABLE
from deepbrainprint.bench.senders import require_sender, send

_MODULE = "deepbrainprint.bench.sampling"
_CELLS = ("slices-1", "slices-4")
_LEAST_PERCENT = 0.5


class BarePynetdicom:
    """A pynetdicom listener whose handler does nothing: what its own loops cost."""

    name = "bare pynetdicom"
    most_associations = 10

    def __init__(self, samples: Path) -> None:
        self._samples = samples

    def missing(self) -> str:
        """Nothing: we depend on it."""
        return ""

    def about(self) -> dict[str, object]:
        """Version."""
        return {"version": version("pynetdicom")}

    @contextmanager
    def running(self, folder: Path) -> Iterator[Door]:
        """Run it under the sampler."""
        port = free_port()
        command = (sys.executable, "-m", _MODULE, "bare", str(port))
        played = part("bare", command, folder, {FOLDER_VARIABLE: str(self._samples)})
        with process(played, port) as pid:
            yield Door(port, "BARE", {"receiver": pid}, lambda: Held(0, 0, 0))


def profile_intake(folder: Path, scale: float, say: Say) -> list[dict[str, Any]]:
    """Rows of receiver, cell, thread, line and its share of that thread's time, largest first.

    Misconfigured when dcmsend is missing.
    """
    require_sender()
    with workplace(folder) as place:
        return [row for cell in _CELLS for row in _profiled(cell, scale, place / cell, say)]


def _profiled(cell: str, scale: float, place: Path, say: Say) -> Iterator[dict[str, Any]]:
    for number in range(2):
        samples = place / f"samples-{number}"
        samples.mkdir(parents=True)
        receiver = _watched(samples)[number]
        rate = _run(receiver, cell, scale, place)
        say(f"{cell} {receiver.name}: {rate:.0f} instances/s while sampled")
        for row in _rows(samples):
            yield {"receiver": receiver.name, "cell": cell} | row


def _watched(samples: Path) -> tuple[Receiver, Receiver]:
    """Both receivers, set up to leave their samples there."""
    ours = OurListener(("-m", _MODULE, "listen"), {FOLDER_VARIABLE: str(samples)})
    return BarePynetdicom(samples), ours


def _run(receiver: Receiver, name: str, scale: float, place: Path) -> float:
    cell = CELLS[name].scaled(scale)
    folders = cell.write(place / "sent" / receiver.name, new_tag())
    with receiver.running(place / receiver.name.replace(" ", "-")) as door:
        return cell.instances / send(door, folders).seconds


def _rows(samples: Path) -> list[dict[str, Any]]:
    """By thread and line; threads of one role in several processes together."""
    counts: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    for path in samples.glob("*.json"):
        for row in json.loads(path.read_text("utf-8")):
            file = Path(row["file"])
            place = f"{file.parent.name}/{file.name}:{row['line']} {row['function']}"
            counts[row["thread"]][place, row["code"]] += row["count"]
    return [
        {"thread": thread, "samples": sum(lines.values()), "percent": percent, "where": where}
        | {"code": code}
        for thread, lines in sorted(counts.items())
        for (where, code), count in sorted(lines.items(), key=lambda item: -item[1])
        if (percent := round(100 * count / sum(lines.values()), 1)) >= _LEAST_PERCENT
    ]
