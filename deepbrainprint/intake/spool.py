"""Puts received objects on disk so that they survive a crash of the process or the machine.

A file appears under its name only when all of it is on disk, and never in place of another.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.intake.part10 import Delivery, encoded_meta, read_delivery
from deepbrainprint.settings import Settings

_INCOMING = ".incoming"  # half-written files, in the same file system as the whole ones
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class StoredFile:
    """Where an object lies, relative to the instances folder, and how large the file is."""

    path: Path
    size_bytes: int
    same: bool  # False when a file of that name holds other bytes; it was left as it is
    written: bool  # False when the same bytes lay there already


@contextmanager
def sole_receiver(settings: Settings) -> Iterator[None]:
    """Keep other processes from receiving into the same home; Misconfigured when one does."""
    with _home_errors():
        settings.home.mkdir(parents=True, exist_ok=True)
        lock = (settings.home / ".receiver.lock").open("w")
    with lock:
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # ends with the process, however it ends
        except BlockingIOError:
            raise Misconfigured(
                "another listener receives into DBP_HOME: stop it or set another folder",
                code="home_in_use",
            ) from None
        yield


def prepare(settings: Settings) -> int:
    """Make the folders and remove what a killed process left half-written; how many files.

    To be called before anything is received. Misconfigured when the folders cannot be written.
    """
    with _home_errors():
        for shard in range(256):
            (settings.instances_folder / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
        for folder in (settings.instances_folder, settings.quarantine_folder):
            (folder / _INCOMING).mkdir(parents=True, exist_ok=True)
            _sync_folder(folder)
        _sync_folder(settings.home)
        return _remove_stale(settings.instances_folder) + _remove_stale(settings.quarantine_folder)


def instance_path(sop_instance_uid: str) -> Path:
    """Where an instance belongs, relative to the instances folder. No header text in it."""
    digest = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
    return Path(digest[:2]) / f"{digest}.dcm"


def require_free_space(settings: Settings, size_bytes: int) -> None:
    """TryAgain with code `disk_full` when writing `size_bytes` would leave too little free disk."""
    with storage_errors():
        free = shutil.disk_usage(settings.instances_folder).free
    if free - size_bytes < settings.minimum_free_bytes:
        raise _disk_full()


def store(settings: Settings, delivery: Delivery) -> StoredFile:
    """Make a delivery durable under the name of its SOP Instance UID.

    Raises TryAgain with code `disk_full` or `storage_failed`; nothing is left behind then.
    """
    path = instance_path(delivery.sop_instance_uid)
    meta = encoded_meta(delivery)
    target = settings.instances_folder / path
    with storage_errors():
        written = not target.exists() and write_durably(
            settings.instances_folder, path, (meta, delivery.data_set)
        )
        if written:
            return StoredFile(path, len(meta) + len(delivery.data_set), same=True, written=True)
        return _already_there(target, path, delivery)


def write_durably(root: Path, path: Path, chunks: Iterable[bytes]) -> bool:
    """Write `root/path` and put it on disk; False when that file exists, which is left alone.

    `link` is used where a rename would do, because a rename replaces what is there.
    """
    temporary = root / _INCOMING / uuid4().hex
    try:
        _write(temporary, chunks)
        os.link(temporary, root / path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder((root / path).parent)
    return True


def withdraw(settings: Settings, stored: StoredFile) -> None:
    """Take away a file that this process has just written."""
    (settings.instances_folder / stored.path).unlink(missing_ok=True)


def stored_files(settings: Settings, *, before: float) -> Iterator[list[Path]]:
    """Paths of all stored instances last written before a time (POSIX seconds), a shard at once."""
    root = settings.instances_folder
    for shard in sorted(root.glob("[0-9a-f][0-9a-f]")):
        yield sorted(
            path.relative_to(root) for path in shard.glob("*.dcm") if path.stat().st_mtime < before
        )


def _already_there(target: Path, path: Path, delivery: Delivery) -> StoredFile:
    _sync_folder(target.parent)  # its writer may not have come to that yet
    there = read_delivery(target)
    same = (there.sha256, there.transfer_syntax_uid) == (
        delivery.sha256,
        delivery.transfer_syntax_uid,
    )
    return StoredFile(path, target.stat().st_size, same=same, written=False)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("xb", buffering=0) as file:
        for chunk in chunks:
            _write_all(file.fileno(), chunk)
        os.fsync(file.fileno())


def _write_all(descriptor: int, chunk: bytes) -> None:
    remaining = memoryview(chunk)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(folder: Path) -> int:
    stale = list((folder / _INCOMING).iterdir())
    for path in stale:
        path.unlink()
    return len(stale)


@contextmanager
def _home_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"DBP_HOME cannot be written ({error.strerror}): set it to a folder that we may write",
            code="home_not_writable",
        ) from None


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an OSError of the disk into TryAgain with code `disk_full` or `storage_failed`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _disk_full() from None
        raise TryAgain(
            f"the disk under DBP_HOME failed ({error.strerror}): check it, then send again",
            code="storage_failed",
        ) from None


def _disk_full() -> TryAgain:
    return TryAgain(
        "the disk under DBP_HOME is full: free space or lower DBP_MINIMUM_FREE_BYTES, "
        "then send again",
        code="disk_full",
    )
