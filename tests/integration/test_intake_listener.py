"""The listener as its own process, with dcmtk and pynetdicom as senders."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, build_context

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake import spool
from deepbrainprint.intake.listener import listen
from deepbrainprint.intake.part10 import encoded_meta, read_delivery
from deepbrainprint.settings import Settings
from tests.instances import NAME, PATIENT_ID, delivery, encoded, mr_image, save
from tests.integration.raw_peer import ASSOCIATE_RJ, RawPeer, associate_rq
from tests.integration.scu import associate, send, store
from tests.integration.services import Service, closed_to_all, free_port, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*VR:UserWarning")  # bad objects are the point
SECRETS = [*NAME.split("^"), PATIENT_ID]
dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="needs dcmtk: apt-get install dcmtk"
)


def restart_with(listener: Service, **changes: object) -> None:
    """Stop the listener and start it with other settings."""
    listener.stop()
    listener.settings = listener.settings.model_copy(update=changes)
    starts = len(listener.events("reconciled"))
    listener.restart()
    listener.wait_for("reconciled", times=starts + 1)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    command_line = [str(part) for part in command]
    return subprocess.run(command_line, capture_output=True, text=True, check=False)


@dcmtk
def test_dcmtk_echo_is_answered(listener: Service):
    port = listener.settings.listener_port
    assert run("echoscu", "-aec", "WRONG-TITLE", "127.0.0.1", port).returncode == 0
    assert listener.wait_for("association_opened")["called_ae"] == "WRONG-TITLE"


@dcmtk
@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_dcmtk_sends_images(listener: Service, database: Database, tmp_path: Path, tool: str):
    images = [mr_image() for _ in range(5)]
    files = save(tmp_path, *images)
    done = run(tool, "-aet", "MR1", "127.0.0.1", listener.settings.listener_port, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    for image in images:
        path = listener.settings.instances_folder / spool.instance_path(image.SOPInstanceUID)
        assert read_delivery(path).data_set == encoded(image)
    assert count(database, "instance") == 5
    closed = listener.wait_for("association_closed")
    assert (closed["ae"], closed["instances"], closed["refused"]) == ("MR1", 5, 0)


def test_every_transfer_syntax_is_kept_as_it_was_sent(listener: Service, shared_data: Path):
    folder = shared_data / "dicom/transfer_syntaxes/In"
    for file, status in send_files(listener, sorted(folder.glob("*.dcm"))).items():
        assert status == 0x0000
        assert stored_bytes(listener, file).endswith(data_set_of(file))


@pytest.mark.slow
def test_odd_objects_are_filed_or_kept_aside_and_none_ends_the_association(
    listener: Service, database: Database, shared_data: Path, tmp_path: Path
):
    files = [
        with_agreeing_meta(path, tmp_path)
        for folder in ("odd", "vendors")
        for path in (shared_data / "dicom" / folder).rglob("*")
        if path.is_file() and is_sendable(path)
    ]
    statuses = send_files(listener, files)
    filed = [file for file, status in statuses.items() if status == 0x0000]
    assert len(filed) > 190
    assert all(data_set_of(file) in stored_bytes(listener, file) for file in filed)
    assert set(statuses.values()) <= {0x0000, 0xA900, 0xC000}
    aside = {path.read_bytes() for path in listener.settings.quarantine_folder.glob("*.dcm")}
    for file in set(files) - set(filed):
        assert any(content.endswith(data_set_of(file)) for content in aside)
    assert count(database, "quarantine") == len(aside)
    assert listener.events("association_closed")[-1]["refused"] == len(files) - len(filed)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"StudyInstanceUID": None}, 0xC000),
        ({"SOPInstanceUID": "../../../etc/passwd"}, 0xC000),
        ({"SOPInstanceUID": "1." + "2" * 80}, 0xC000),
    ],
    ids=["no study UID", "climbing UID", "long UID"],
)
def test_a_bad_object_is_refused_and_the_next_one_is_taken(
    listener: Service, database: Database, changes: dict[str, str], status: int, any_uid: None
):
    assert send(listener, mr_image(**changes), mr_image()) == [status, 0x0000]
    assert count(database, "quarantine") == 1
    assert count(database, "instance") == 1


def test_a_request_that_names_another_instance_does_not_match(listener: Service):
    image = mr_image()
    association = associate(listener)
    answer = association.send_c_store(file_of(listener, encoded(mr_image()), image.SOPInstanceUID))
    assert (answer.Status, answer.ErrorComment) == (0xA900, "uid mismatch")
    association.release()


def test_a_repeat_is_a_success(listener: Service, database: Database):
    image = mr_image()
    assert send(listener, image, image) == [0x0000, 0x0000]
    assert count(database, "instance") == 1


def test_a_full_disk_is_a_transient_refusal(listener: Service, database: Database):
    restart_with(listener, minimum_free_bytes=1 << 60)
    assert send(listener, mr_image()) == [0xA700]
    assert count(database, "instance") == 0


def test_postgresql_away_is_bridged_by_the_journal(
    listener: Service, database: Database, postgres_url: str
):
    images = [mr_image() for _ in range(6)]
    assert send(listener, *images[:2]) == [0x0000] * 2
    with closed_to_all(postgres_url, database):
        assert send(listener, *images) == [0x0000] * 6
    listener.wait_for("journal_registered")
    wait_until(lambda: count(database, "instance") == 6)
    assert count(database, "instance") == 6
    assert send(listener, *images) == [0x0000] * 6
    assert count(database, "instance") == 6


def test_without_a_journal_postgresql_away_is_a_transient_refusal_that_ends_with_it(
    listener: Service, database: Database, postgres_url: str
):
    restart_with(listener, journal_minutes=0)
    first, second = mr_image(), mr_image()
    assert send(listener, first) == [0x0000]
    with closed_to_all(postgres_url, database):
        assert send(listener, second, second) == [0xA700, 0xA700]
    wait_until(lambda: send(listener, second) == [0x0000])
    assert count(database, "instance") == 2


def test_an_error_that_nobody_foresaw_refuses_one_object_only(
    listener: Service, database: Database
):
    image = mr_image()
    rows(database, "alter table instance rename column sha256 to something")
    assert send(listener, image) == [0xC211]
    rows(database, "alter table instance rename column something to sha256")
    assert send(listener, image) == [0x0000]
    assert listener.events("store_failed")[0]["error"] == "UndefinedColumn"


def test_one_association_too_many_is_refused_for_now(intake_settings: Settings, tmp_path: Path):
    settings = intake_settings.model_copy(
        update={
            "listener_port": free_port(),
            "listener_host": "127.0.0.1",
            "maximum_associations": 2,
        }
    )
    service = Service("listener", "listen", settings, tmp_path / "log")
    service.wait_for("reconciled")
    taken = [associate(service) for _ in range(2)]
    third = AE().associate(
        "127.0.0.1", settings.listener_port, contexts=[build_context("1.2.840.10008.1.1")]
    )
    assert third.is_rejected
    assert third.acceptor.primitive.result == 2  # transient, PS3.8 Table 9-21
    for association in taken:
        association.release()
    service.kill()


def test_a_stop_lets_the_running_association_finish(listener: Service, database: Database):
    association = associate(listener)
    listener.process.terminate()
    listener.wait_for("stopping")
    assert [store(association, mr_image()) for _ in range(3)] == [0x0000] * 3
    association.release()
    assert listener.process.wait(timeout=10) == 0
    assert listener.events()[-1]["event"] == "stopped"
    assert count(database, "instance") == 3


def test_the_log_holds_no_identity(listener: Service):
    send(listener, mr_image(), mr_image(SeriesInstanceUID=None), mr_image(StudyInstanceUID="x"))
    listener.wait_for("association_closed")
    log = listener.log.read_text()
    assert len(listener.events("instance_refused")) == 2
    assert not any(secret in log for secret in SECRETS)


def test_a_taken_port_is_named(intake_settings: Settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = intake_settings.model_copy(
            update={"listener_port": port, "listener_host": "127.0.0.1"}
        )
        with pytest.raises(Misconfigured, match=f"{port} is taken.*DBP_LISTENER_PORT"):
            listen(settings)


def test_a_second_listener_on_the_same_port_takes_over_without_a_gap(
    listener: Service, database: Database, tmp_path: Path
):
    second = Service("listener", "listen", listener.settings, tmp_path / "second.log")
    second.wait_for("reconciled")
    association = associate(listener)
    assert store(association, mr_image()) == 0x0000
    association.release()
    assert listener.stop() == 0
    for _ in range(8):
        assert send(second, mr_image()) == [0x0000]
    assert count(database, "instance") == 9
    assert second.stop() == 0


def test_an_address_that_is_not_ours_is_named(intake_settings: Settings):
    settings = intake_settings.model_copy(update={"listener_host": "192.0.2.1"})
    with pytest.raises(Misconfigured, match="DBP_LISTENER_HOST"):
        listen(settings)


def test_a_database_that_is_not_there_is_named(intake_settings: Settings):
    url = intake_settings.database_url.get_secret_value().replace("/test_", "/other_")
    settings = intake_settings.model_copy(
        update={"database_url": SecretStr(url), "listener_port": free_port()}
    )
    with pytest.raises(Misconfigured, match="DBP_DATABASE_URL"):
        listen(settings)


def test_the_listener_starts_without_anything_heavy():
    code = """
import sys
for name in ("torch", "faiss", "SimpleITK", "nilearn", "deepbet", "airflow", "onnxruntime"):
    sys.modules[name] = None
import deepbrainprint.intake.listener, deepbrainprint.intake.dispatch
"""
    assert run(sys.executable, "-c", code).returncode == 0


@pytest.fixture
def any_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sender in this process send UIDs that are none."""
    monkeypatch.setitem(_config.VALIDATORS, "UI", lambda _: (True, ""))


def send_files(listener: Service, files: list[Path]) -> dict[Path, int]:
    """Send files over one association, their data sets as they lie on disk."""
    kinds = {
        (meta_of(file).MediaStorageSOPClassUID, meta_of(file).TransferSyntaxUID) for file in files
    }
    association = associate(listener, *sorted(kinds))
    statuses = {file: int(association.send_c_store(file).get("Status", -1)) for file in files}
    association.release()
    listener.wait_for("association_closed")
    return statuses


@pytest.fixture(autouse=True)
def files_are_sent_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)


def is_sendable(path: Path) -> bool:
    """Whether a file says what it is, and is of a kind that belongs to a patient."""
    try:
        meta = meta_of(path)
    except (InvalidDicomError, EOFError):
        return False
    wanted = ("FileMetaInformationGroupLength", "MediaStorageSOPClassUID", "TransferSyntaxUID")
    return all(meta.get(name) for name in wanted) and meta.MediaStorageSOPClassUID.startswith(
        "1.2.840.10008.5.1.4.1.1."
    )


def meta_of(path: Path) -> FileMetaDataset:
    return read_file_meta_info(path)


def data_set_of(path: Path) -> bytes:
    return path.read_bytes()[144 + meta_of(path).FileMetaInformationGroupLength :]


def with_agreeing_meta(path: Path, folder: Path) -> Path:
    """A copy whose meta information names the instance that its data set is."""
    meta, dataset = meta_of(path), dcmread(path, stop_before_pixels=True)
    uid = dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or "1.2.3"
    sent = delivery(
        data_set=data_set_of(path),
        sop_class_uid=meta.MediaStorageSOPClassUID,
        sop_instance_uid=uid,
        transfer_syntax_uid=meta.TransferSyntaxUID,
    )
    copy = folder / f"{uuid4().hex}-{path.name}"
    copy.write_bytes(encoded_meta(sent) + sent.data_set)
    return copy


def stored_bytes(listener: Service, file: Path) -> bytes:
    uid = meta_of(file).MediaStorageSOPInstanceUID
    return (listener.settings.instances_folder / spool.instance_path(uid)).read_bytes()


def file_of(listener: Service, data_set: bytes, sop_instance_uid: str) -> Path:
    """A file whose meta information names another instance than its data set."""
    sent = delivery(data_set=data_set, sop_instance_uid=sop_instance_uid)
    path = listener.settings.home / "sent.dcm"
    path.write_bytes(encoded_meta(sent) + data_set)
    return path


@pytest.mark.parametrize(
    ("changes", "code", "times"),
    [
        pytest.param({"unknown_senders": "refuse"}, "unknown_sender", 2, id="unknown"),
        pytest.param({"maximum_associations": 1}, "too_many_associations", 1, id="too many"),
    ],
)
def test_a_refused_association_is_one_line_in_the_log(
    listener: Service, database: Database, changes: dict[str, object], code: str, times: int
):
    restart_with(listener, **changes)
    port = listener.settings.listener_port
    with RawPeer(port) as first, RawPeer(port) as second:
        first.send(associate_rq()).answer()
        assert second.send(associate_rq()).answer()[0] == ASSOCIATE_RJ
    noted = "select count(*) from association where reason_code = %s"
    wait_until(lambda: rows(database, noted, code) == [(times,)])  # later than the log
    assert [line["code"] for line in listener.events("association_refused")] == [code] * times
