"""Says yes while PostgreSQL is away: the names of stored instances that have no row yet.

A name is an empty file, so that it costs one entry in a folder; the object is in the spool.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from deepbrainprint.errors import TryAgain
from deepbrainprint.intake.spool import storage_errors, sync_folder
from deepbrainprint.settings import Settings

_LOOK_AGAIN_SECONDS = 1.0
_LOOK_SHARE = 20  # a look that took a second is not repeated for so many: 150,000 names take two
_LOCK = ".lock"


@dataclass(frozen=True)
class JournalDepth:
    """What waits for PostgreSQL."""

    instances: int = 0
    size_bytes: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True)
class _Look:
    """What a look at the folder found."""

    instances: int
    size_bytes: int
    oldest_at: float | None  # POSIX seconds
    seconds: float  # that it took
    growth: float = 0.0  # bytes a second since the look before, by all processes
    at: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        return time.monotonic() - self.at

    @property
    def is_old(self) -> bool:
        return self.age > max(_LOOK_AGAIN_SECONDS, _LOOK_SHARE * self.seconds)

    def depth(self) -> JournalDepth:
        waiting = 0.0 if self.oldest_at is None else max(0.0, time.time() - self.oldest_at)
        return JournalDepth(self.instances, self.size_bytes, waiting)


_NEVER = _Look(0, 0, None, 0.0, at=-math.inf)


class Journal:
    """The journal of one home, shared by all its processes. Thread-safe.

    How much is in it is looked up now and then, by one thread while the others go on; in between,
    what this process adds is counted, and the others are taken to go on as before.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.journal_folder
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._look = _NEVER
        self._added = 0

    def require_room(self, size_bytes: int = 0) -> None:
        """TryAgain with code `database_away` when the journal may not grow any more."""
        look, added = self._newest_look()
        total = look.size_bytes + max(added, look.growth * look.age) + size_bytes
        if (
            total >= self._settings.journal_bytes
            or look.depth().oldest_seconds >= self._settings.journal_minutes * 60
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
        """What waits, by the newest look."""
        return self._newest_look()[0].depth()

    def waiting(self, limit: int) -> list[Path]:
        """Paths of some waiting instances, relative to the instances folder."""
        with storage_errors():
            names = [entry.name for entry in islice(self._entries(), limit)]
        return [Path(name[:2], f"{name}.dcm") for name in names]

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

    def _newest_look(self) -> tuple[_Look, int]:
        """What was found last, and the bytes that this process added since."""
        is_first = self._look is _NEVER  # else who finds another thread looking goes on
        if self._look.is_old and self._looking.acquire(blocking=is_first):
            try:
                if self._look.is_old:
                    self._look_again()
            finally:
                self._looking.release()
        with self._lock:
            return self._look, self._added

    def _look_again(self) -> None:
        counted = self._added  # what is added during the look is counted twice rather than never
        look = self._measured(self._look)
        with self._lock:
            self._look = look
            self._added -= counted

    def _measured(self, before: _Look) -> _Look:
        began, root = time.monotonic(), self._settings.instances_folder
        instances, size_bytes, oldest_at = 0, 0, None
        with storage_errors():
            for entry in self._entries():
                with suppress(FileNotFoundError):  # it got its row at this moment
                    noted_at = entry.stat().st_mtime
                    size_bytes += (root / entry.name[:2] / f"{entry.name}.dcm").stat().st_size
                    instances += 1
                    oldest_at = min(oldest_at or noted_at, noted_at)
        growth = (size_bytes - before.size_bytes) / before.age
        return _Look(instances, size_bytes, oldest_at, time.monotonic() - began, growth)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            yield from (entry for entry in entries if entry.name != _LOCK)
