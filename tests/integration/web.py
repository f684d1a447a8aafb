"""A real HTTP server with the DICOMweb application, and what is sent to it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import httpx
import uvicorn
from pydicom.uid import ExplicitVRLittleEndian

from deepbrainprint.intake.dicomweb.app import create_app
from deepbrainprint.intake.dicomweb.tokens import Right, new_token
from deepbrainprint.intake.part10 import Request, encoded_meta
from tests.instances import encoded
from tests.integration.services import wait_until

BOUNDARY = "a-boundary-of-ours"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
BOTH = frozenset(Right)


@contextmanager
def running(app):
    """A real HTTP server on a free port; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(
            uvicorn.Config(app, http="h11", log_config=None, access_log=False, lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(settings, database):
    """A client with all rights, of the sender GATEWAY, of a real server."""
    token = new_token(database, "GATEWAY", BOTH, days=1, by="tester")
    with (
        running(create_app(settings, database)) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        yield client


def part10(image, syntax: str = ExplicitVRLittleEndian, **changes: str) -> bytes:
    """A DICOM file of an image, its meta information changed as asked."""
    said = {
        "sop_class_uid": str(image.SOPClassUID),
        "sop_instance_uid": str(image.SOPInstanceUID),
        "transfer_syntax_uid": syntax,
        "calling_ae": "WRITER",
    } | changes
    return encoded_meta(Request(**said)) + encoded(image)


def body(*files: bytes, kind: str = "application/dicom") -> bytes:
    parts = [
        f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + file + b"\r\n" for file in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(web, content, path: str = "/studies", **headers: str) -> httpx.Response:
    return web.post(path, content=content, headers={"Content-Type": MULTIPART} | headers)


def told(answer: httpx.Response, sequence: str) -> list[dict]:
    assert answer.headers["content-type"] == "application/dicom+json"
    items = answer.json().get(sequence, {}).get("Value", [])
    return [{tag: element["Value"][0] for tag, element in item.items()} for item in items]


STORED, FAILED, OTHER = "00081199", "00081198", "0008119A"
CLASS, UID, REASON = "00081150", "00081155", "00081197"
