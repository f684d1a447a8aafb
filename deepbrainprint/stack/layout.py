"""Where the embedded stack keeps what: one folder, `home`, and nothing outside it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.settings import Settings

# An empty database cluster, Airflow's tables and the first write-ahead log fit in this.
_NEEDED_BYTES = 256 << 20


@dataclass(frozen=True)
class Layout:
    """Folders and files under one home. `home` is absolute."""

    home: Path

    @property
    def postgres(self) -> Path:
        """Database cluster and socket; only PostgreSQL's account enters."""
        return self.home / "postgres"

    @property
    def airflow(self) -> Path:
        """Airflow's home: configuration, keys, password."""
        return self.home / "airflow"

    @property
    def logs(self) -> Path:
        """One file per process, and Airflow's task logs in a folder."""
        return self.home / "logs"

    @property
    def ledger(self) -> Path:
        """What runs now, written by the supervisor, read by everyone else."""
        return self.home / "run" / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "run" / "stack.lock"

    def log(self, name: str) -> Path:
        """Log file of the process called `name`."""
        return self.logs / f"{name}.log"


def layout_of(settings: Settings) -> Layout:
    """Where things are; creates nothing."""
    return Layout(settings.home.expanduser().absolute())


def lay_out(settings: Settings) -> Layout:
    """Create the folders that are missing, closed to other users.

    Misconfigured when home cannot be written, TryAgain when its disk is full.
    """
    layout = layout_of(settings)
    with words_for_disk(layout.home):
        layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (layout.airflow, layout.logs, layout.ledger.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_full_disk(layout.home)
    return layout


@contextmanager
def words_for_disk(home: Path) -> Iterator[None]:
    """Turn what the operating system says about a folder into what to do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(home) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise Misconfigured(
                f"DBP_HOME: {home} cannot be written: choose another folder or change its owner",
                code="home_not_writable",
            ) from None
        raise


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, readable by its owner only."""
    unfinished = path.with_suffix(".new")
    with words_for_disk(path.parent):
        unfinished.touch(mode=0o600)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)


def _refuse_full_disk(home: Path) -> None:
    if shutil.disk_usage(home).free < _NEEDED_BYTES:
        raise _full(home)


def _full(home: Path) -> TryAgain:
    return TryAgain(
        f"the disk of {home} is full: free at least {_NEEDED_BYTES >> 20} MB on it",
        code="disk_full",
    )
