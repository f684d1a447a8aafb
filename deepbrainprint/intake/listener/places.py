"""How many associations are open over all receiving processes, in a file that they share.

A process that is killed lets go of the lock by itself, and the keeper clears its count.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from pathlib import Path

_COUNT = struct.Struct("<L")
_MOST_SEATS = 1024  # processes of one listener


class Places:
    """The counts; `seat` is this process's own, or None for one that only looks. Thread-safe."""

    def __init__(self, path: Path, seat: int | None = None) -> None:
        self._seat = seat
        self._threads = threading.Lock()  # the lock of the file is one for the whole process
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, _MOST_SEATS * _COUNT.size)
        self._counts = mmap.mmap(self._file, _MOST_SEATS * _COUNT.size)

    def take(self, most: int) -> bool:
        """Take a place if fewer than `most` are taken."""
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                if self.taken() >= most:
                    return False
                self._add(1)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def give_back(self) -> None:
        """Let another have a place that this process took."""
        with self._threads:
            self._add(-1)

    def clear(self, seat: int) -> None:
        """The process of that seat is no more."""
        _COUNT.pack_into(self._counts, seat * _COUNT.size, 0)

    def taken(self) -> int:
        """Places that are taken now, by all."""
        return sum(count for (count,) in _COUNT.iter_unpack(self._counts))

    def _add(self, change: int) -> None:
        if self._seat is None:
            raise AssertionError
        start = self._seat * _COUNT.size
        (count,) = _COUNT.unpack_from(self._counts, start)
        _COUNT.pack_into(self._counts, start, count + change)
