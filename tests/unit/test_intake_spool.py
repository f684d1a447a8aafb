"""Files that survive, and files that must not be left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000, ImplicitVRLittleEndian

from deepbrainprint.errors import BadStudy, Misconfigured, TryAgain
from deepbrainprint.intake import spool
from deepbrainprint.intake.disk import DiskState, DiskWatch
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID, Delivery, read_delivery
from deepbrainprint.settings import Settings
from tests.instances import delivery, encoded, mr_image


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", minimum_free_bytes=0)
    spool.prepare(settings)
    return settings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; skips where we may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, check=False).returncode != 0:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def store(settings: Settings, sent: Delivery) -> tuple[Path, bool]:
    """Where a delivery lies, and whether it was this call that put it there."""
    target = settings.instances_folder / spool.instance_path(sent.sop_instance_uid)
    with spool.Incoming(settings, sent) as incoming:
        incoming.write(sent.data_set)
        return target, incoming.settle(target)


def is_same(settings: Settings, sent: Delivery) -> bool:
    target = settings.instances_folder / spool.instance_path(sent.sop_instance_uid)
    with spool.Incoming(settings, sent) as incoming:
        incoming.write(sent.data_set)
        return spool.same_object(target, incoming)


@pytest.fixture(params=["unnamed files", "named files"], autouse=True)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file system that knows files without a name, and with one that does not."""
    if request.param == "named files":
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # opening a folder to write fails


def test_what_is_stored_is_a_dicom_file_that_others_can_read(settings: Settings):
    dataset = mr_image()
    path, _ = store(settings, delivery(dataset, ImplicitVRLittleEndian))
    read = dcmread(path)
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert read.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert read.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert read.PixelData == dataset.PixelData


def test_the_data_set_lies_on_disk_byte_for_byte(settings: Settings):
    sent = delivery(data_set=b"\x08\x00 anything at all", transfer_syntax_uid=JPEG2000)
    path, _ = store(settings, sent)
    assert path.read_bytes().endswith(sent.data_set)
    assert read_delivery(path) == sent


def test_a_data_set_may_come_in_parts(settings: Settings):
    sent = delivery()
    with spool.Incoming(settings, sent) as incoming:
        for start in range(0, len(sent.data_set), 100):
            incoming.write(memoryview(sent.data_set)[start : start + 100])
        assert incoming.sha256 == sent.sha256
        incoming.settle(settings.instances_folder / "00" / "x.dcm")
    file = settings.instances_folder / "00" / "x.dcm"
    assert read_delivery(file) == sent
    assert file.stat().st_size == incoming.size_bytes


def test_an_object_that_never_came_to_its_end_leaves_nothing(settings: Settings):
    with spool.Incoming(settings, delivery()) as incoming:
        incoming.write(b"half")
    assert files_under(settings.home) == []


def test_no_header_text_is_part_of_a_path():
    path = spool.instance_path("../../etc/passwd")
    assert set(path.stem + path.parts[0]) <= set("0123456789abcdef")


def test_the_same_bytes_again_change_nothing(settings: Settings):
    sent = delivery()
    assert [store(settings, sent)[1], store(settings, sent)[1]] == [True, False]
    assert is_same(settings, sent)
    assert len(files_under(settings.home)) == 1


def test_other_bytes_under_the_same_uid_leave_the_first_alone(settings: Settings):
    dataset = mr_image()
    path, _ = store(settings, delivery(dataset))
    other = delivery(dataset, data_set=encoded(mr_image()))
    assert store(settings, other) == (path, False)
    assert not is_same(settings, other)
    assert read_delivery(path).data_set == encoded(dataset)


def test_of_many_writers_at_once_exactly_one_wins(settings: Settings):
    dataset = mr_image()
    sent = [delivery(dataset, data_set=encoded(mr_image())) for _ in range(8)]
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(store(settings, one)[1]))
        for one in sent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]


def test_little_free_disk_is_a_transient_refusal(settings: Settings):
    tight = DiskWatch(settings.model_copy(update={"minimum_free_bytes": 1 << 60}))
    assert tight.state() is DiskState.FULL
    with pytest.raises(TryAgain) as caught:
        tight.require_room()
    assert caught.value.code == "disk_full"
    assert "DBP_MINIMUM_FREE_BYTES" in str(caught.value)


def test_the_disk_warns_before_it_refuses(settings: Settings):
    low = DiskWatch(settings.model_copy(update={"low_free_bytes": 1 << 60}))
    assert low.state() is DiskState.LOW
    low.require_room()
    assert DiskWatch(settings.model_copy(update={"low_free_bytes": 0})).state() is DiskState.OK


def test_a_refusal_ends_when_there_is_room_and_does_not_flap(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    watch = DiskWatch(settings.model_copy(update={"minimum_free_bytes": 1000}))
    states = []
    for free in (999, 1001, 1049, 1051, 1001):
        monkeypatch.setattr(watch, "free_bytes", lambda free=free: free)
        states.append(watch.state() is DiskState.FULL)
    assert states == [True, True, True, False, False]


def test_a_warning_ends_when_there_is_room_and_does_not_flap(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    watch = DiskWatch(settings.model_copy(update={"low_free_bytes": 1000}))
    states = []
    for free in (999, 1001, 1049, 1051, 1001):
        monkeypatch.setattr(watch, "free_bytes", lambda free=free: free)
        states.append(watch.state() is DiskState.LOW)
    assert states == [True, True, True, False, False]


def test_a_really_full_disk_is_a_transient_refusal_and_leaves_nothing(small_disk: Path):
    settings = Settings(home=small_disk, minimum_free_bytes=0)
    spool.prepare(settings)
    with pytest.raises(TryAgain) as caught:
        store(settings, delivery(data_set=bytes(4 << 20)))
    assert caught.value.code == "disk_full"
    assert files_under(small_disk) == []


def test_half_written_files_of_a_killed_process_are_cleared_at_the_start(settings: Settings):
    incoming = settings.instances_folder / ".incoming"
    ended = subprocess.Popen(["true"])
    ended.wait()
    (incoming / f"{ended.pid}-stale").write_bytes(b"half")
    (incoming / f"{os.getpid()}-alive").write_bytes(b"half")
    assert spool.prepare(settings) == 1
    assert [path.name for path in files_under(settings.home)] == [f"{os.getpid()}-alive"]


def test_a_home_that_is_no_folder_is_named(tmp_path: Path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(Misconfigured, match="DBP_HOME"):
        spool.prepare(Settings(home=tmp_path / "home"))


@pytest.mark.parametrize("content", [b"", bytes(200), b"\0" * 128 + b"DICM"])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadStudy):
        read_delivery(tmp_path / "x")
