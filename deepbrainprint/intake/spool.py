"""Puts received objects on disk so that they survive a crash of the process or the machine.

A file appears under its name only when all of it is on disk, and never in place of another.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from deepbrainprint.errors import DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.intake.part10 import Request, encoded_meta, filed_object
from deepbrainprint.settings import Settings

_INCOMING = ".incoming"  # in the same file system as the whole files
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


def prepare(settings: Settings) -> int:
    """Make the folders and remove what killed processes left half-written; how many files.

    Misconfigured when the folders cannot be written.
    """
    with _home_errors():
        for shard in range(256):
            (settings.instances_folder / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
        settings.quarantine_folder.mkdir(parents=True, exist_ok=True)
        settings.journal_folder.mkdir(parents=True, exist_ok=True)
        (settings.instances_folder / _INCOMING).mkdir(exist_ok=True)
        for folder in (settings.instances_folder, settings.quarantine_folder, settings.home):
            sync_folder(folder)
            _require_writable(folder)
        return _remove_stale(settings.instances_folder / _INCOMING)


def instance_path(sop_instance_uid: str) -> Path:
    """Where an instance belongs, relative to the instances folder. No header text in it."""
    digest = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
    return Path(digest[:2], f"{digest}.dcm")


class Incoming:
    """An object on its way to disk.

    The file has no name until all of it is on disk: what a killed process or a broken association
    leaves behind is gone by itself. `size_bytes` counts the file, `sha256` the data set alone.
    The methods raise TryAgain with code `disk_full` or `storage_failed`.
    """

    def __init__(self, settings: Settings, request: Request) -> None:
        self.request = request
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._settled: Path | None = None
        with storage_errors():
            self._descriptor, self._name = _open_unnamed(settings.instances_folder / _INCOMING)
            try:
                meta = encoded_meta(request)
                self._append(meta)
            except BaseException:
                self.close()
                raise
        self._start = len(meta)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        """Digest of the data set as far as it has come."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a part of the data set."""
        with storage_errors():
            self._append(chunk)
        self._digest.update(chunk)

    @contextmanager
    def content(self) -> Iterator[tuple[mmap.mmap, int]]:
        """The file so far, mapped, and where its data set starts."""
        with mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ) as data:
            yield data, self._start

    def settle(self, target: Path) -> bool:
        """Put the file on disk under its name; False when that name is taken, which stays as it is.

        A link and not a rename, because a rename replaces what is there.
        """
        settled = self.keep(target)
        self._settled = target if settled else None
        return settled

    def keep(self, target: Path) -> bool:
        """Put the file on disk under a further name; False when that name is taken."""
        with storage_errors():
            os.fsync(self._descriptor)
            try:
                self._link(target)
            except FileExistsError:
                return False
            sync_folder(target.parent)
        return True

    def withdraw(self) -> None:
        """Take away the name under which the file was settled, if it was."""
        if self._settled is not None:
            self._settled.unlink(missing_ok=True)
            self._settled = None

    def close(self) -> None:
        """Let go of the file; what has no name by now is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._name is not None:
            self._name.unlink(missing_ok=True)

    def _append(self, chunk: bytes | memoryview) -> None:
        remaining = memoryview(chunk)
        while remaining:
            written = os.write(self._descriptor, remaining)
            self.size_bytes += written
            remaining = remaining[written:]

    def _link(self, target: Path) -> None:
        if self._name is not None:
            os.link(self._name, target)
            return
        source = f"/proc/self/fd/{self._descriptor}"  # a link to the file, which is to be followed
        # Python calls linkat, which alone can follow it, only when it is given a folder; with an
        # absolute path that folder is not looked at.
        os.link(source, target, src_dir_fd=self._descriptor, follow_symlinks=True)


def same_object(target: Path, incoming: Incoming) -> bool:
    """Whether the file of that name holds this very object; it is on disk by then."""
    with storage_errors():
        sync_folder(target.parent)  # its writer may not have come to that yet
        with filed_object(target) as there:
            return (there.sha256(), there.request.transfer_syntax_uid) == (
                incoming.sha256,
                incoming.request.transfer_syntax_uid,
            )


def write_note(target: Path, text: str) -> None:
    """Put a small text on disk under its name, unless that name is taken."""
    temporary = target.with_name(f".{uuid4().hex}")
    with storage_errors():
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(target.parent)


def stored_files(settings: Settings, *, before: float) -> Iterator[list[Path]]:
    """Paths of all stored instances last written before a time (POSIX seconds), a shard at once."""
    root = settings.instances_folder
    for shard in sorted(root.glob("[0-9a-f][0-9a-f]")):
        yield sorted(
            path.relative_to(root) for path in shard.glob("*.dcm") if path.stat().st_mtime < before
        )


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_unnamed(folder: Path) -> tuple[int, Path | None]:
    """A file without a name; where the file system knows no such thing, one with its name."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644), None
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
    name = folder / f"{os.getpid()}-{uuid4().hex}"
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644), name


def _remove_stale(folder: Path) -> int:
    """Named files whose process has ended; other listeners may be at work in the same home."""
    stale = [path for path in folder.iterdir() if not _is_alive(path.name.partition("-")[0])]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _is_alive(process: str) -> bool:
    return process.isdecimal() and Path("/proc", process).exists()


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


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
            raise disk_full() from None
        raise TryAgain(
            f"the disk under DBP_HOME failed ({error.strerror}): check it, then send again",
            code="storage_failed",
        ) from None


def disk_full() -> DeepBrainPrintError:
    """The error of a disk that can take nothing more."""
    return TryAgain(
        "the disk under DBP_HOME is full: free space or lower DBP_MINIMUM_FREE_BYTES, "
        "then send again",
        code="disk_full",
    )
