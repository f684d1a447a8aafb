"""C-STORE against real receivers: pynetdicom's in this process, and dcmtk's storescp."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, RLELossless
from pynetdicom import AE, AllStoragePresentationContexts, evt

from deepbrainprint.errors import BadStudy, Misconfigured, TryAgain
from deepbrainprint.intake.sender import send
from deepbrainprint.records import HeaderIdentity, Volume
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.scanner import Compression, Exam, acquire, write

HOST = "127.0.0.1"
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return study(tmp_path)


def study(folder: Path, compression: Compression = Compression.NONE) -> list[Path]:
    data = np.random.default_rng(0).integers(0, 4000, (16, 16, 6)).astype(np.float32)
    exam = Exam("sender", HeaderIdentity("SIM-1"), Protocol())
    return write(
        acquire(Volume(data, np.eye(4)), exam), folder / compression, compression=compression
    )


def of_kind(path: Path, sop_class: str, copy: Path) -> Path:
    image = pydicom.dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
    image.save_as(copy)
    return copy


def data_set(path: Path) -> bytes:
    """What follows preamble, prefix and meta information."""
    length = read_file_meta_info(path).FileMetaInformationGroupLength
    return path.read_bytes()[128 + 4 + 12 + length :]


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@contextmanager
def receiver(answer=lambda _: 0, *, kinds=(MRImageStorage,), syntaxes=SYNTAXES, **settings):
    """A storage SCP whose status is what `answer` says; yields its port and what it was sent."""
    taken: list[bytes] = []

    def handle(event):
        taken.append(event.request.DataSet.getvalue())
        return answer(event)

    entity = AE("RECEIVER")
    for kind in kinds:
        entity.add_supported_context(kind, syntaxes)
    for name, value in settings.items():
        setattr(entity, name, value)
    server = entity.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    yield server.socket.getsockname()[1], taken
    server.shutdown()


@pytest.mark.parametrize("compression", Compression)
def test_bytes_arrive_as_they_lie_in_the_files(tmp_path, compression):
    files = study(tmp_path, compression)
    with receiver() as (port, taken):
        sent = send(files, host=HOST, port=port)
    assert taken == [data_set(path) for path in files]
    assert sent.statuses == (0,) * 6
    assert (sent.stored, sent.failures) == (6, {})


def test_an_element_that_encoders_leave_out_arrives_too(files):
    path, rest = files[0], data_set(files[0])
    group_length = struct.pack("<HH2sHI", 0x0008, 0x0000, b"UL", 4, 100)  # retired, PS3.5 7.2
    path.write_bytes(path.read_bytes()[: -len(rest)] + group_length + rest)
    with receiver() as (port, taken):
        send([path], host=HOST, port=port)
    assert taken == [group_length + rest]


def test_each_instance_is_reported_as_it_goes(files):
    heard = []
    with receiver() as (port, _):
        send(files, host=HOST, port=port, report=lambda *counts: heard.append(counts))
    assert heard == [(number, 6) for number in range(1, 7)]


def test_refused_instances_are_counted_by_status_and_the_rest_still_goes(files):
    answers = iter([0, 0xA700, 0, 0xA700, 0xC001, 0xB000])
    with receiver(lambda _: next(answers)) as (port, taken):
        sent = send(files, host=HOST, port=port)
    assert len(taken) == 6
    assert sent.failures == {0xA700: 2, 0xC001: 1}
    assert str(sent) == "3 of 6 instances stored; refused: 2 × 0xA700, 1 × 0xC001"


def test_a_syntax_that_the_receiver_does_not_take_is_counted_not_converted(tmp_path):
    files = study(tmp_path) + study(tmp_path, Compression.RLE)
    with receiver(syntaxes=[ExplicitVRLittleEndian]) as (port, taken):
        sent = send(files, host=HOST, port=port)
    assert len(taken) == 6
    assert sent.failures == {0x0122: 6}


def test_a_rate_holds_back(files):
    with receiver() as (port, _):
        slow = send(files, host=HOST, port=port, rate=20)
    assert slow.seconds >= 6 / 20


def test_nobody_there_is_a_reason_to_try_again(files):
    port = free_port()
    with pytest.raises(TryAgain, match=rf"127.0.0.1:{port} .*start it or correct"):
        send(files, host=HOST, port=port)


def test_an_unknown_host_says_so_and_names_it(files):
    with pytest.raises((TryAgain, Misconfigured), match=r"no-such-host\.invalid:104"):
        send(files, host="no-such-host.invalid", port=104)


def test_a_refused_association_names_both_titles(files):
    with (
        receiver(require_called_aet=True) as (port, _),
        pytest.raises(TryAgain, match=r"NOBODY.*refused.*ME"),
    ):
        send(files, host=HOST, port=port, called_ae="NOBODY", calling_ae="ME")


def test_a_receiver_that_takes_no_such_object_says_so(files):
    with (
        receiver(syntaxes=[RLELossless]) as (port, _),
        pytest.raises(TryAgain, match="accepts none of these"),
    ):
        send(files, host=HOST, port=port)


def test_an_abort_in_the_middle_says_how_far_it_got(files):
    def abort_at_third(event):
        if event.request.MessageID == 3:
            event.assoc.abort()
        return 0

    with (
        receiver(abort_at_third) as (port, _),
        pytest.raises(TryAgain, match="stopped answering after 2 instances"),
    ):
        send(files, host=HOST, port=port)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_not_dicom_is_named_by_its_place(files, tmp_path, content):
    (tmp_path / "Mockford_Ada.dcm").write_bytes(content)
    with pytest.raises(BadStudy, match=r"^file 7 of those to send") as refused:
        send([*files, tmp_path / "Mockford_Ada.dcm"], host=HOST, port=1)
    assert "Ada" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"calling_ae": "A" * 17}, {"called_ae": ""}, {"port": 70000}])
def test_an_impossible_address_is_a_wrong_setting(files, wrong):
    with pytest.raises(Misconfigured, match="correct the host, port or AE title"):
        send(files, **{"host": HOST, "port": free_port(), **wrong})


def test_nothing_to_send_is_done_at_once():
    assert send([], host=HOST, port=1).statuses == ()


def test_a_hundred_and_thirty_kinds_go_out_over_two_associations(files, tmp_path):
    kinds = [context.abstract_syntax for context in AllStoragePresentationContexts[:130]]
    many = [of_kind(files[0], kind, tmp_path / f"{n}.dcm") for n, kind in enumerate(kinds)]
    with receiver(kinds=kinds) as (port, taken):
        sent = send(many, host=HOST, port=port)
    assert sent.statuses == (0,) * 130
    assert len(taken) == 130


@pytest.mark.skipif(shutil.which("storescp") is None, reason="dcmtk is not installed")
def test_dcmtk_receives_what_was_sent(files, tmp_path):
    port, inbox = free_port(), tmp_path / "inbox"
    inbox.mkdir()
    command = ["storescp", "--bit-preserving", "-od", inbox, "-aet", "DCMTK", str(port)]
    with subprocess.Popen(command) as server:
        try:
            sent = _patiently(files, port)
        finally:
            server.terminate()
    assert sent.stored == 6
    assert sorted(map(data_set, inbox.iterdir())) == sorted(map(data_set, files))


def _patiently(files, port):
    for _ in range(50):
        try:
            return send(files, host=HOST, port=port, called_ae="DCMTK")
        except TryAgain:
            time.sleep(0.1)
    raise AssertionError("storescp did not start")
