"""The temporary folder of a listener goes with it, also when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepbrainprint.intake.listener.scratch import hold, scratch_folder
from deepbrainprint.settings import Settings
from tests.integration.load import listening

_OWNER = """
import sys
from deepbrainprint.intake.listener.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that only this test has."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def owner() -> Iterator[Callable[[], tuple[subprocess.Popen[str], Path]]]:
    """Starts processes that have a folder of their own."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", _OWNER]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        folder = Path(started[-1].stdout.readline().strip())
        (folder / "counter_1.db").write_bytes(bytes(100))
        make_old(folder)
        return started[-1], folder

    yield start
    for process in started:
        process.kill()
        process.communicate()


def make_old(folder: Path) -> None:
    """As if it had been made an hour ago."""
    os.utime(folder, (time.time() - 3600,) * 2)


def folders(parent: Path) -> set[Path]:
    return set(parent.glob("dbp-listener-*"))


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(
    temporary: Path, owner
):
    (killed, left), (_, used) = owner(), owner()
    killed.kill()
    killed.wait()
    with scratch_folder() as ours:
        assert folders(temporary) == {used, ours}
    assert folders(temporary) == {used}
    assert not left.exists()
    assert (used / "counter_1.db").exists()


def test_a_folder_that_a_worker_still_counts_in_stays(temporary: Path, owner):
    killed, left = owner()
    worker = hold(left)
    killed.kill()
    killed.wait()
    with scratch_folder():
        assert left.exists()
    os.close(worker)
    with scratch_folder():
        assert not left.exists()


def test_a_folder_that_was_just_made_stays(temporary: Path):
    fresh = temporary / "dbp-listener-fresh"
    fresh.mkdir()
    with scratch_folder():
        assert fresh.exists()


def test_what_is_no_folder_of_ours_stays(temporary: Path, tmp_path: Path):
    elsewhere, other = tmp_path / "elsewhere", temporary / "other-program"
    for folder in (elsewhere, other):
        folder.mkdir()
        (folder / "file").touch()
        make_old(folder)
    (temporary / "dbp-listener-link").symlink_to(elsewhere)
    (temporary / "dbp-listener-file").touch()
    make_old(temporary / "dbp-listener-file")
    with scratch_folder():
        pass
    assert (elsewhere / "file").exists()
    assert (other / "file").exists()
    assert (temporary / "dbp-listener-file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_another_accounts_folder_stays(temporary: Path):
    theirs = temporary / "dbp-listener-theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    make_old(theirs)
    with scratch_folder():
        assert theirs.exists()


@pytest.mark.slow
def test_a_killed_listeners_folder_is_removed_at_the_next_start(
    intake_settings: Settings, database, temporary: Path, tmp_path: Path
):
    with listening(intake_settings, tmp_path / "log") as listener:
        [left] = folders(temporary)
        listener.kill()
        make_old(left)
        listener.restart()
        listener.wait_for("reconciled", times=2)
        [used] = folders(temporary)
        assert used != left
        assert listener.stop() == 0
    assert folders(temporary) == set()
