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
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID, read_delivery
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


def test_what_is_stored_is_a_dicom_file_that_others_can_read(settings: Settings):
    dataset = mr_image()
    stored = spool.store(settings, delivery(dataset, ImplicitVRLittleEndian))
    read = dcmread(settings.instances_folder / stored.path)
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert read.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert read.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert read.PixelData == dataset.PixelData


def test_the_data_set_lies_on_disk_byte_for_byte(settings: Settings):
    sent = delivery(data_set=b"\x08\x00 anything at all", transfer_syntax_uid=JPEG2000)
    stored = spool.store(settings, sent)
    content = (settings.instances_folder / stored.path).read_bytes()
    assert content.endswith(sent.data_set)
    assert stored.size_bytes == len(content)
    assert read_delivery(settings.instances_folder / stored.path) == sent


def test_no_header_text_is_part_of_a_path(settings: Settings):
    stored = spool.store(settings, delivery(sop_instance_uid="../../etc/passwd"))
    assert stored.path == spool.instance_path("../../etc/passwd")
    assert set(stored.path.stem + stored.path.parts[0]) <= set("0123456789abcdef")


def test_the_same_bytes_again_change_nothing(settings: Settings):
    sent = delivery()
    first, second = spool.store(settings, sent), spool.store(settings, sent)
    assert (first.written, second.written) == (True, False)
    assert second.same
    assert len(files_under(settings.home)) == 1


def test_other_bytes_under_the_same_uid_leave_the_first_alone(settings: Settings):
    dataset = mr_image()
    stored = spool.store(settings, delivery(dataset))
    other = spool.store(settings, delivery(dataset, data_set=encoded(mr_image())))
    assert not other.same
    kept = read_delivery(settings.instances_folder / stored.path)
    assert kept.data_set == encoded(dataset)


def test_of_many_writers_at_once_exactly_one_wins(settings: Settings):
    dataset = mr_image()
    sent = [delivery(dataset, data_set=encoded(mr_image())) for _ in range(8)]
    results: list[spool.StoredFile] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(spool.store(settings, one)))
        for one in sent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.same for result in results) == [False] * 7 + [True]


def test_little_free_disk_is_a_transient_refusal(settings: Settings):
    tight = settings.model_copy(update={"minimum_free_bytes": 1 << 60})
    with pytest.raises(TryAgain) as caught:
        spool.require_free_space(tight, 1)
    assert caught.value.code == "disk_full"
    assert "DBP_MINIMUM_FREE_BYTES" in str(caught.value)


def test_a_failed_write_leaves_nothing_behind(settings: Settings):
    def chunks_of_a_disk_that_fills_up():
        yield b"first"
        raise OSError(28, os.strerror(28))

    with pytest.raises(TryAgain) as caught, spool.storage_errors():
        spool.write_durably(
            settings.instances_folder, Path("00/x.dcm"), chunks_of_a_disk_that_fills_up()
        )
    assert caught.value.code == "disk_full"
    assert files_under(settings.home) == []


def test_a_really_full_disk_is_a_transient_refusal(small_disk: Path):
    settings = Settings(home=small_disk, minimum_free_bytes=0)
    spool.prepare(settings)
    with pytest.raises(TryAgain) as caught:
        spool.store(settings, delivery(data_set=bytes(4 << 20)))
    assert caught.value.code == "disk_full"
    assert files_under(small_disk) == []


def test_half_written_files_of_a_killed_process_are_cleared_at_the_start(settings: Settings):
    (settings.instances_folder / ".incoming" / "stale").write_bytes(b"half")
    (settings.quarantine_folder / ".incoming" / "stale").write_bytes(b"half")
    assert spool.prepare(settings) == 2
    assert files_under(settings.home) == []


def test_a_home_that_is_no_folder_is_named(tmp_path: Path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(Misconfigured, match="DBP_HOME"):
        spool.prepare(Settings(home=tmp_path / "home"))


@pytest.mark.parametrize("content", [b"", bytes(200), b"\0" * 128 + b"DICM"])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadStudy):
        read_delivery(tmp_path / "x")
