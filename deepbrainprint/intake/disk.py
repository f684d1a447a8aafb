"""Watches the free space under the home folder and refuses before the disk is full."""

from __future__ import annotations

import os
import threading
import time
from enum import StrEnum

from deepbrainprint.intake.spool import disk_full, storage_errors
from deepbrainprint.settings import Settings

_LOOK_AGAIN_SECONDS = 0.25
_RESUME = 1.05  # of the free space below which we warn or refuse: no flapping around the mark


class DiskState(StrEnum):
    """How much room there is."""

    OK = "ok"
    LOW = "low"  # a person should act
    FULL = "full"  # instances are refused, for now


class DiskWatch:
    """Free space, looked up a few times a second however many objects come. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._looked_at = -1.0
        self._free = 0
        self._refusing = False
        self._warning = False

    def require_room(self) -> None:
        """TryAgain with code `disk_full` while too little is free; ends by itself."""
        if self.state() is DiskState.FULL:
            raise disk_full()

    def state(self) -> DiskState:
        """How much room there is now."""
        free, settings = self.free_bytes(), self._settings
        self._refusing = _is_below(free, settings.minimum_free_bytes, was_below=self._refusing)
        self._warning = _is_below(free, settings.low_free_bytes, was_below=self._warning)
        if self._refusing:
            return DiskState.FULL
        return DiskState.LOW if self._warning else DiskState.OK

    def free_bytes(self) -> int:
        """Bytes that we may still write. TryAgain when the disk does not say."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at > _LOOK_AGAIN_SECONDS:
                self._free = _free_bytes(self._settings)
                self._looked_at = now
            return self._free

    def took(self, size_bytes: int) -> None:
        """Count what has just been written, between two looks."""
        with self._lock:
            self._free -= size_bytes


def _is_below(free_bytes: int, mark: int, *, was_below: bool) -> bool:
    return free_bytes < (mark * _RESUME if was_below else mark)


def _free_bytes(settings: Settings) -> int:
    with storage_errors():
        figures = os.statvfs(settings.instances_folder)
    return figures.f_bavail * figures.f_frsize
