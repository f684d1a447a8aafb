from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydicom.uid import JPEG2000Lossless, generate_uid
from structlog.testing import capture_logs

from deepbrainprint.intake.dicomweb.app import create_app
from deepbrainprint.intake.dicomweb.tokens import new_token
from deepbrainprint.intake.spool import instance_path
from tests.instances import encoded, mr_image
from tests.integration.orthanc import needs_orthanc, running_orthanc
from tests.integration.services import closed_to_all, wait_until
from tests.integration.web import (
    BOTH,
    BOUNDARY,
    CLASS,
    FAILED,
    MULTIPART,
    OTHER,
    REASON,
    STORED,
    UID,
    body,
    part10,
    post,
    running,
    told,
)
from tests.rows import count, rows


def assert_nothing_is_kept(intake_settings, database):
    assert count(database, "instance") == 0
    assert count(database, "study") == 0
    assert list(intake_settings.instances_folder.glob("*/*.dcm")) == []
    assert list((intake_settings.instances_folder / ".incoming").iterdir()) == []


def test_instances_of_one_body_are_filed_byte_for_byte(web, intake_settings, database):
    images = [mr_image(rows=rows_) for rows_ in (32, 64, 4096)]
    answer = post(web, body(*map(part10, images)))
    assert answer.status_code == 200
    assert [one[UID] for one in told(answer, STORED)] == [one.SOPInstanceUID for one in images]
    assert FAILED not in answer.json()
    for image in images:
        path = intake_settings.instances_folder / instance_path(image.SOPInstanceUID)
        assert path.read_bytes().endswith(encoded(image))
    assert rows(database, "select distinct calling_ae from instance") == [("GATEWAY",)]


def test_a_repeat_is_harmless_and_other_bytes_under_a_known_uid_are_not_stored(web, database):
    image = mr_image()
    assert post(web, body(part10(image))).status_code == 200
    assert post(web, body(part10(image))).status_code == 200
    image.PatientName = "Somebody^Else"
    answer = post(web, body(part10(image)))
    assert answer.status_code == 409
    assert told(answer, FAILED)[0][REASON] == 0xC000
    assert "give the changed object a new UID" in answer.headers["warning"]
    assert count(database, "instance") == 1
    assert rows(database, "select reason_code from quarantine") == [("other_bytes",)]


def test_each_instance_has_its_own_status(web, database):
    good, nameless = mr_image(), mr_image(StudyInstanceUID=None)
    report = mr_image(SOPClassUID="1.2.840.10008.1.3.10")
    files = [
        part10(good),
        part10(nameless),
        b"this is no DICOM file, " * 20,
        part10(mr_image(), sop_instance_uid="1.2.3"),
        part10(report),
        b"",
    ]
    answer = post(web, body(*files))
    assert answer.status_code == 202
    assert [one[UID] for one in told(answer, STORED)] == [good.SOPInstanceUID]
    assert {one[UID]: one[REASON] for one in told(answer, FAILED)} == {
        nameless.SOPInstanceUID: 0xC000,
        "1.2.3": 0xA900,
        report.SOPInstanceUID: 0x0122,
    }
    assert told(answer, OTHER) == [{REASON: 0xC000}, {REASON: 0xC000}]
    assert count(database, "instance") == 1


def test_only_instances_of_the_study_in_the_url_are_stored(web, database):
    study = generate_uid()
    one, other = mr_image(study_uid=study), mr_image()
    answer = post(web, body(part10(one), part10(other)), f"/studies/{study}")
    assert answer.status_code == 202
    assert told(answer, FAILED) == [
        {CLASS: other.SOPClassUID, UID: other.SOPInstanceUID, REASON: 0xA900}
    ]
    answer = post(web, body(part10(other)), f"/studies/{study}")
    assert answer.status_code == 409
    assert "belongs to another study" in answer.headers["warning"]
    assert count(database, "instance") == 1
    assert count(database, "quarantine") == 0


def test_a_compressed_file_without_group_length_is_filed(web, intake_settings):
    image = mr_image()
    file = part10(image, JPEG2000Lossless)
    answer = post(web, body(file[:132] + file[144:]))
    assert answer.status_code == 200
    path = intake_settings.instances_folder / instance_path(image.SOPInstanceUID)
    assert path.read_bytes().endswith(encoded(image))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_may_come_in_pieces_of_any_size(web, size):
    image = mr_image()
    content = body(part10(image), part10(mr_image()))
    pieces = (content[start : start + size] for start in range(0, len(content), size))
    answer = post(web, pieces)
    assert answer.status_code == 200
    assert len(told(answer, STORED)) == 2


def test_a_body_that_is_cut_off_keeps_its_whole_instances_and_no_part_of_the_last(
    web, intake_settings, database
):
    whole = mr_image()
    content = body(part10(whole), part10(mr_image()))
    answer = post(web, content[: -len(BOUNDARY) - 8])
    assert answer.status_code == 400
    assert answer.json()["code"] == "body_cut_off"
    assert rows(database, "select sop_instance_uid from instance") == [(whole.SOPInstanceUID,)]
    assert len(list(intake_settings.instances_folder.glob("*/*.dcm"))) == 1


def open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return found


def test_a_client_that_goes_away_leaves_nothing_half_stored(web, intake_settings, database):
    content = body(part10(mr_image(PixelData=bytes(4 << 20))))
    head = (
        f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n"
        f"Authorization: {web.headers['authorization']}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with capture_logs() as log:
        with socket.create_connection((web.base_url.host, web.base_url.port)) as connection:
            connection.sendall(head.encode() + content[: len(content) // 2])
        wait_until(lambda: any(line["event"] == "request" for line in log))
    assert not [line for line in log if line["log_level"] == "error"]
    home = str(intake_settings.home)
    assert [path for path in open_files() if path.startswith(home)] == []
    assert_nothing_is_kept(intake_settings, database)
    assert post(web, content).status_code == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "body_cut_off"),
        (body().replace(BOUNDARY.encode(), b"another"), "body_cut_off"),
        (body() * 3_000 + b"x" * 70_000, "no_instances"),
        (b"x" * 70_000, "bad_multipart"),
        (f"--{BOUNDARY}junk\r\n\r\n".encode(), "bad_multipart"),
        (f"--{BOUNDARY}\r\n".encode() + b"A: b\r\n" * 5_000, "bad_multipart"),
        (f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode(), "body_cut_off"),
        (body(), "no_instances"),
    ],
)
def test_a_body_that_is_none_is_refused(web, intake_settings, database, content, code):
    answer = post(web, content)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert_nothing_is_kept(intake_settings, database)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/dicom", 415),
        ("multipart/form-data; boundary=x", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        ('multipart/related; type="application/dicom"', 400),
        ("", 415),
    ],
)
def test_another_media_type_is_refused(web, content_type, status):
    answer = post(web, body(part10(mr_image())), **{"Content-Type": content_type})
    assert answer.status_code == status


def test_a_compressed_body_is_refused(web):
    assert post(web, body(), **{"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_refused(intake_settings, database, chunked):
    small = intake_settings.model_copy(update={"dicomweb_body_bytes": 1000})
    token = new_token(database, "X", BOTH, days=1, by="tester")
    content = body(part10(mr_image()))
    with running(create_app(small, database)) as url, httpx.Client(base_url=url) as web:
        answer = post(web, iter([content]) if chunked else content, Authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert_nothing_is_kept(intake_settings, database)


def test_a_body_that_stalls_is_ended(intake_settings, database):
    quick = intake_settings.model_copy(update={"network_seconds": 0.1})
    token = new_token(database, "X", BOTH, days=1, by="tester")
    head = (
        f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: 999\r\n\r\n--{BOUNDARY}"
    )
    with running(create_app(quick, database)) as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_full_disk_asks_to_come_again(intake_settings, database):
    full = intake_settings.model_copy(update={"minimum_free_bytes": 1 << 60})
    token = new_token(database, "X", BOTH, days=1, by="tester")
    with running(create_app(full, database)) as url, httpx.Client(base_url=url) as web:
        answer = post(web, body(part10(mr_image())), Authorization=f"Bearer {token}")
        assert web.get("/readyz").status_code == 503
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert told(answer, FAILED)[0][REASON] == 0xA700


def test_while_postgresql_is_away_known_tokens_store_into_the_journal_and_others_wait(
    web, intake_settings, database, postgres_url
):
    image = mr_image()
    assert web.get("/studies").status_code == 200
    with closed_to_all(postgres_url, database):
        answer = post(web, body(part10(image)))
        assert web.get("/studies").status_code == 503
        stranger = web.get("/studies", headers={"Authorization": "Bearer other"})
        assert web.get("/readyz").status_code == 503
        assert web.get("/healthz").status_code == 200
    assert answer.status_code == 200
    assert stranger.status_code == 503
    assert (intake_settings.instances_folder / instance_path(image.SOPInstanceUID)).is_file()
    [name] = [path.name for path in intake_settings.journal_folder.iterdir()]
    assert name == instance_path(image.SOPInstanceUID).stem


@needs_orthanc
def test_orthanc_pushes_a_study_by_its_dicomweb_client(web, database, tmp_path, shared_data):
    folder = shared_data / "dicom" / "repositioned_volunteer"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with running_orthanc() as orthanc:
        sent = []
        for file in files:
            if file.read_bytes()[128:132] == b"DICM":
                sent += orthanc.upload([file])
            if len(sent) == 40:
                break
        header = {"Authorization": web.headers["authorization"]}
        server = {"Url": f"{web.base_url}/", "HttpHeaders": header}
        httpx.put(f"{orthanc.dicomweb_url}/servers/ours", json=server).raise_for_status()
        study_ids = orthanc.holds("studies")
        answer = httpx.post(
            f"{orthanc.dicomweb_url}/servers/ours/stow",
            json={"Resources": study_ids, "Synchronous": True},
            timeout=60,
        )
        assert answer.is_success, answer.text
        expected = set(orthanc.uids("instances"))
    filed = {uid for (uid,) in rows(database, "select sop_instance_uid from instance")}
    assert filed == expected
    assert len(filed) == len(set(sent)) > 1
