"""Says yes while PostgreSQL is away: the names of stored instances that have no row yet.

A name is an empty file, so that it costs one entry in a folder; the object is in the spool.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.errors import TryAgain
from deepbrainprint.intake.spool import storage_errors, sync_folder
from deepbrainprint.settings import Settings

_LOOK_AGAIN_SECONDS = 1.0
_LOCK = ".lock"


@dataclass(frozen=True)
class JournalDepth:
    """What waits for PostgreSQL."""

    instances: int = 0
    size_bytes: int = 0
    oldest_seconds: float = 0.0


class Journal:
    """The journal of one home, shared by all its processes. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.journal_folder
        self._lock = threading.Lock()
        self._looked_at = -1.0
        self._depth = JournalDepth()
        self._added = 0

    def require_room(self, size_bytes: int = 0) -> None:
        """TryAgain with code `database_away` when the journal may not grow any more."""
        with self._lock:
            depth = self._depth_now()
            total = depth.size_bytes + self._added + size_bytes
        if (
            total >= self._settings.journal_bytes
            or depth.oldest_seconds >= self._settings.journal_minutes * 60
        ):
            raise TryAgain(
                "PostgreSQL is away and the journal is full: start PostgreSQL, or raise "
                "DBP_JOURNAL_BYTES or DBP_JOURNAL_MINUTES, then send again",
                code="database_away",
            )

    def note(self, path: Path, size_bytes: int) -> None:
        """Put the name of a stored instance on disk; harmless when it is there.

        `path` is relative to the instances folder. TryAgain when the disk fails.
        """
        with storage_errors():
            with suppress(FileExistsError):
                os.close(os.open(self._folder / path.stem, os.O_CREAT | os.O_EXCL, 0o644))
            sync_folder(self._folder)
        with self._lock:
            self._added += size_bytes

    def depth(self) -> JournalDepth:
        """What waits now."""
        with self._lock:
            return self._depth_now()

    def waiting(self, limit: int) -> list[Path]:
        """Paths of waiting instances, relative to the instances folder."""
        with storage_errors():
            names = [path.name for path in self._folder.iterdir() if path.name != _LOCK]
        return [Path(name[:2], f"{name}.dcm") for name in sorted(names)[:limit]]

    def has(self, path: Path) -> bool:
        """Whether an instance waits."""
        return (self._folder / path.stem).exists()

    def forget(self, path: Path) -> None:
        """The instance has its row now."""
        (self._folder / path.stem).unlink(missing_ok=True)

    @contextmanager
    def emptied_by_us(self) -> Iterator[bool]:
        """Whether this process is the one that empties the journal now."""
        with storage_errors(), (self._folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _depth_now(self) -> JournalDepth:
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AGAIN_SECONDS:
            self._depth, self._added = self._measured(), 0
            self._looked_at = now
        return self._depth

    def _measured(self) -> JournalDepth:
        instances, size_bytes, oldest = 0, 0, time.time()
        with storage_errors():
            for entry in os.scandir(self._folder):
                if entry.name == _LOCK:
                    continue
                with suppress(FileNotFoundError):  # it got its row at this moment
                    oldest = min(oldest, entry.stat().st_mtime)
                    file = self._settings.instances_folder / entry.name[:2] / f"{entry.name}.dcm"
                    size_bytes += file.stat().st_size
                    instances += 1
        return JournalDepth(instances, size_bytes, max(0.0, time.time() - oldest))
