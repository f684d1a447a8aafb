"""A real Orthanc for tests: a PACS to ask and fetch from, and a modality that sends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.services import free_port, wait_until

PROGRAM = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
DICOM_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

needs_orthanc = pytest.mark.skipif(
    PROGRAM is None or not DICOM_WEB.is_file(),
    reason="needs Orthanc and its DICOMweb plugin: install the packages orthanc, orthanc-dicomweb",
)


class Orthanc:
    """One running Orthanc with an empty SQLite store of its own; made by `running_orthanc`."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *, ae_title: str, **configuration: Any) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.url = f"http://{self.host}:{self.http_port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        self.log = folder / "orthanc.log"
        (folder / "orthanc.json").write_text(json.dumps(self._configuration() | configuration))
        self._client = httpx.Client(base_url=self.url, timeout=60.0)
        self.start()

    def start(self) -> None:
        """Start the process, which keeps what it held before, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), str(self.folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        wait_until(lambda: self._is_ready() or self.process.poll() is not None)
        assert self._is_ready(), self.log.read_text()

    def stop(self) -> None:
        """End the process; `start` brings it back with what it held."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process for good."""
        self._client.close()
        self.stop()

    def upload(self, files: Iterable[Path]) -> list[str]:
        """Put DICOM files into it by its REST API; Orthanc's own id of each."""
        return [self.post("/instances", file.read_bytes())["ID"] for file in files]

    def holds(self, level: str = "instances") -> list[str]:
        """Orthanc's own ids of its `patients`, `studies`, `series`, `instances`, `modalities`."""
        return list(self.get(f"/{level}"))

    def uids(self, level: str = "studies") -> dict[str, str]:
        """DICOM UIDs of its `studies`, `series` or `instances`, with Orthanc's own id of each."""
        name = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID"}.get(
            level, "SOPInstanceUID"
        )
        return {
            item["MainDicomTags"][name]: item["ID"] for item in self.get(f"/{level}?expand=true")
        }

    def clear(self) -> None:
        """Forget all it holds and all it knows, so that one Orthanc can serve several tests.

        Two modalities with one AE title, one of them gone, and a C-MOVE goes to either.
        """
        for kind in ("patients", "modalities"):
            for name in self.holds(kind):
                self._client.delete(f"/{kind}/{name}").raise_for_status()

    def add_modality(self, name: str, *, ae_title: str, port: int, host: str = host) -> None:
        """Make a DICOM node known under `name`: as a target of `send`, or of a C-MOVE to its AE."""
        body = {"AET": ae_title, "Host": host, "Port": port, "AllowStorageCommitment": True}
        self._client.put(f"/modalities/{name}", json=body).raise_for_status()

    def send(self, name: str, resources: Iterable[str], **options: Any) -> dict[str, Any]:
        """Send resources (Orthanc's own ids) to a known modality by C-STORE; what became of it.

        `options` are Orthanc's, such as `StorageCommitment=True`. `FailedInstancesCount` is 0 when
        all were taken; with `Permissive=True` a refusal is counted there, else it is an error.
        """
        body = {"Resources": list(resources), "Synchronous": True, "Permissive": True} | options
        return dict(self.post(f"/modalities/{name}/store", json.dumps(body).encode()))

    def echo(self, name: str) -> bool:
        """Whether a known modality answers its C-ECHO."""
        return self._client.post(f"/modalities/{name}/echo", content=b"{}").is_success

    def get(self, path: str) -> Any:
        """The JSON answer to a GET of its REST API."""
        return self._client.get(path).raise_for_status().json()

    def post(self, path: str, body: bytes) -> Any:
        """The JSON answer to a POST of its REST API."""
        return self._client.post(path, content=body).raise_for_status().json()

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/system").is_success
        except httpx.HTTPError:
            return False

    def _configuration(self) -> dict[str, Any]:
        store = str(self.folder / "store")
        return {
            "Name": "test peer",
            "StorageDirectory": store,
            "IndexDirectory": store,
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": True,
            "OverwriteInstances": False,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,
            "SaveJobs": False,
            "TcpNoDelay": True,
            "Plugins": [str(DICOM_WEB)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }


@contextmanager
def running_orthanc(
    *,
    modalities: Mapping[str, tuple[str, int]] | None = None,
    ae_title: str = "ORTHANC",
    **more: Any,
) -> Iterator[Orthanc]:
    """An Orthanc that lives as long as the block.

    `modalities` names DICOM nodes on this machine: {name: (AE title, port)}; `more` are settings
    of Orthanc's own configuration file, for instance `DicomTlsEnabled=True`.
    """
    with tempfile.TemporaryDirectory(prefix="orthanc-", ignore_cleanup_errors=True) as folder:
        orthanc = Orthanc(Path(folder), ae_title=ae_title, **more)
        try:
            for name, (title, port) in (modalities or {}).items():
                orthanc.add_modality(name, ae_title=title, port=port)
            yield orthanc
        finally:
            orthanc.close()
