"""Programs of others that send to the listener, are told to send to it, or take what we send."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.intake import sender
from tests.instances import encoded, mr_image, save
from tests.integration.orthanc import Orthanc, needs_orthanc
from tests.integration.services import Service, free_port, wait_until
from tests.integration.test_intake_listener import stored_bytes
from tests.rows import count

pytestmark = pytest.mark.slow  # many processes are started

HOST, OURS = "127.0.0.1", "DEEPBRAINPRINT"
QUICK = {**os.environ, "TCP_NODELAY": "1"}
PROFILES = Path("/etc/dcmtk/storescp.cfg")  # where Debian puts what dcmrecv needs to take images
needs_dcmtk = pytest.mark.skipif(
    shutil.which("movescu") is None, reason="needs dcmtk: apt-get install dcmtk"
)


def known_to(orthanc: Orthanc, listener: Service, folder: Path, images: int) -> list[Path]:
    """An Orthanc that holds some images and knows us."""
    files = save(folder, *(mr_image() for _ in range(images)))
    orthanc.upload(files)
    orthanc.add_modality(OURS, ae_title=OURS, port=listener.settings.listener_port)
    return files


@needs_orthanc
def test_orthanc_echoes_and_sends(
    listener: Service, database: Database, orthanc: Orthanc, tmp_path: Path
):
    files = known_to(orthanc, listener, tmp_path, 4)
    assert orthanc.echo(OURS)
    assert orthanc.send(OURS, orthanc.holds("studies"))["FailedInstancesCount"] == 0
    assert count(database, "instance") == len(files)


@needs_orthanc
@needs_dcmtk
def test_movescu_has_an_archive_send_to_us(
    listener: Service, database: Database, orthanc: Orthanc, tmp_path: Path
):
    image = mr_image()
    [file] = save(tmp_path, image)
    orthanc.upload([file])
    orthanc.add_modality(OURS, ae_title=OURS, port=listener.settings.listener_port)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={image.StudyInstanceUID}"]
    line = [
        "movescu",
        "-S",
        "-aec",
        orthanc.ae_title,
        "-aem",
        OURS,
        *keys,
        HOST,
        orthanc.dicom_port,
    ]
    done = subprocess.run([str(word) for word in line], check=False, env=QUICK)
    assert done.returncode == 0
    wait_until(lambda: count(database, "instance") == 1)
    assert stored_bytes(listener, file).endswith(image.PixelData)


@needs_dcmtk
@pytest.mark.skipif(not PROFILES.exists(), reason="needs DCMTK's association profiles")
def test_dcmrecv_takes_what_we_send(tmp_path: Path):
    image = mr_image()
    files = save(tmp_path, image)
    with dcmrecv(tmp_path / "received") as port:
        report = sender.send(files, host=HOST, port=port, called_ae="DCMRECV", calling_ae="US")
    assert report.statuses == (0x0000,)
    [received] = (tmp_path / "received").iterdir()
    assert received.read_bytes().endswith(encoded(image)[-len(image.PixelData) :])


@contextmanager
def dcmrecv(folder: Path) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    profile = ["--config-file", str(PROFILES), "Default"]
    line = ["dcmrecv", *profile, "-aet", "DCMRECV", "-od", str(folder), str(port)]
    with subprocess.Popen(line, env=QUICK) as server:
        try:
            wait_until(lambda: socket.socket().connect_ex((HOST, port)) == 0)
            yield port
        finally:
            server.kill()
