"""What is sent at one time: so many associations, each with so many objects of a kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepbrainprint.bench.objects import MULTIFRAME, SLICES, ObjectSet, Series, data_set_bytes

_TIMED_SLICES = 1000  # responses timed in a run, over all associations
_TIMED_MULTIFRAME = 20


@dataclass(frozen=True)
class Load:
    """What one association carries."""

    kind: ObjectSet
    count: int

    @property
    def size_bytes(self) -> int:
        """Length of its data sets together."""
        return self.count * data_set_bytes(self.kind)


@dataclass(frozen=True)
class Cell:
    """Associations that are open at one time."""

    name: str
    loads: tuple[Load, ...]

    @property
    def instances(self) -> int:
        """Objects over all associations."""
        return sum(load.count for load in self.loads)

    @property
    def size_bytes(self) -> int:
        """Length of all data sets together."""
        return sum(load.size_bytes for load in self.loads)

    @property
    def pixel_bytes(self) -> int:
        """Length of all Pixel Data: what a receiver cannot do without, however it re-encodes."""
        return sum(load.count * load.kind.pixel_bytes for load in self.loads)

    def scaled(self, factor: float) -> Cell:
        """So much of it; at least one object in each association."""
        loads = (replace(load, count=_at_least_one(load.count * factor)) for load in self.loads)
        return replace(self, loads=tuple(loads))

    def timed(self) -> Cell:
        """As much of it as is sent once more to time single responses."""
        return replace(self, loads=tuple(self._timed(load) for load in self.loads))

    def _timed(self, load: Load) -> Load:
        enough = _TIMED_MULTIFRAME if load.kind.frames else _TIMED_SLICES
        return replace(load, count=min(load.count, math.ceil(enough / len(self.loads))))

    def write(self, folder: Path, tag: int) -> list[Path]:
        """Write its objects as files; one folder for each association."""
        folders = []
        for association, load in enumerate(self.loads):
            folders.append(folder / f"{association:03d}")
            for _ in Series(load.kind, tag, association).files(folders[-1], load.count):
                pass
        return folders


CELLS = {
    cell.name: cell
    for cell in (
        Cell("slices-1", (Load(SLICES, 1000),)),
        Cell("slices-4", (Load(SLICES, 1000),) * 4),
        Cell("slices-16", (Load(SLICES, 250),) * 16),
        Cell("slices-1-long", (Load(SLICES, 4000),)),
        Cell("multiframe-1", (Load(MULTIFRAME, 20),)),
        Cell("multiframe-4", (Load(MULTIFRAME, 5),) * 4),
        Cell("mixed-4", (Load(SLICES, 500),) * 2 + (Load(MULTIFRAME, 10),) * 2),
    )
}


def room_needed(cells: Sequence[Cell]) -> int:
    """Bytes of disk for the largest: as sent, as received, as sent again to time it, and spare."""
    return max(2 * cell.size_bytes + cell.timed().size_bytes for cell in cells) + (3 << 30)


def _at_least_one(count: float) -> int:
    return max(1, round(count))
