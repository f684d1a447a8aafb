"""The temporary folder in which the processes of one listener count together.

Each of them holds a lock on the folder, which ends with the process: one that nobody holds was left
by a listener that was killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "dbp-listener-"
_YOUNG_SECONDS = 60.0  # one that was just made and is not held yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the time of one listener; those that killed listeners left are removed."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        held = hold(Path(name))
        try:
            yield Path(name)
        finally:
            os.close(held)


def hold(folder: Path) -> int:
    """Let nobody remove the folder until the descriptor that comes back is closed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _remove_abandoned(parent: Path) -> None:
    """Anybody may write there: only folders of our own account are touched, and no links."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # no folder, not ours to read, or gone by now
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _YOUNG_SECONDS:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
