"""DICOM over TLS with dcmtk as the sender: who gets in, and what a site is told of its files."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt
from structlog.testing import capture_logs

from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake import tls as module
from deepbrainprint.intake.sender import send
from deepbrainprint.intake.tls import ServerTls, client_context, server_context
from deepbrainprint.settings import Settings
from tests.certificates import Pair, authority, signed
from tests.instances import mr_image, save

HOST = "127.0.0.1"
dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="needs dcmtk: apt-get install dcmtk"
)


@pytest.fixture
def hospital(tmp_path: Path) -> Pair:
    return authority(tmp_path)


@pytest.fixture
def listener(tmp_path: Path, hospital: Pair) -> Pair:
    return signed(tmp_path, hospital)


@pytest.fixture
def modality(tmp_path: Path, hospital: Pair) -> Pair:
    return signed(tmp_path, hospital, "modality")


def serving(pair: Pair, **more: object) -> Settings:
    return Settings(tls_certificate=pair.certificate, tls_key=pair.key, **more)


@contextmanager
def receiver(context: ssl.SSLContext | None) -> Iterator[SimpleNamespace]:
    """A storage SCP behind `context`: its port and what it was sent."""
    taken: list[bytes] = []

    def keep(event: evt.Event) -> int:
        taken.append(event.request.DataSet.getvalue())
        return 0x0000

    entity = AE("RECEIVER")
    entity.add_supported_context("1.2.840.10008.1.1")
    entity.add_supported_context(MRImageStorage)
    handlers = [(evt.EVT_C_STORE, keep)]
    server = entity.start_server((HOST, 0), block=False, evt_handlers=handlers, ssl_context=context)
    yield SimpleNamespace(port=server.socket.getsockname()[1], taken=taken)
    server.shutdown()


def call(tool: str, port: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool, "-v", "-aet", "MR1", *map(str, words[:-1] if tool == "storescu" else words)]
    command += [HOST, str(port), *([str(words[-1])] if tool == "storescu" else [])]
    environment = os.environ | {"TCP_NODELAY": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=60
    )


@dcmtk
@pytest.mark.parametrize("profile", ["--profile-bcp195-nd", "--profile-bcp195"])
def test_dcmtk_sends_over_tls_by_the_bcp_195_profiles(
    listener: Pair, hospital: Pair, tmp_path: Path, profile: str
):
    [file] = save(tmp_path, mr_image())
    with receiver(server_context(serving(listener))) as scp:
        trust = ["--anonymous-tls", "--add-cert-file", hospital.certificate]
        done = call("storescu", scp.port, *trust, profile, file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(scp.taken) == 1


@dcmtk
def test_a_client_that_does_not_trust_our_authority_does_not_send(listener: Pair, tmp_path: Path):
    other = authority(tmp_path, "another")
    with receiver(server_context(serving(listener))) as scp:
        done = call("echoscu", scp.port, "+tla", "+cf", other.certificate)
    assert done.returncode != 0


@dcmtk
def test_a_modality_must_show_a_certificate_where_the_site_asks_for_one(
    listener: Pair, hospital: Pair, modality: Pair, tmp_path: Path
):
    settings = serving(listener, tls_client_authority=hospital.certificate)
    stranger = signed(tmp_path, authority(tmp_path, "another"), "stranger")
    with receiver(server_context(settings)) as scp:
        trust = ["+cf", hospital.certificate]
        shown = call("echoscu", scp.port, "+tls", modality.key, modality.certificate, *trust)
        other = call("echoscu", scp.port, "+tls", stranger.key, stranger.certificate, *trust)
        nothing = call("echoscu", scp.port, "+tla", *trust)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert other.returncode != 0
    assert nothing.returncode != 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(listener: Pair, version: ssl.TLSVersion):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    assert "ALERT_PROTOCOL_VERSION" in handshake_error(listener, client)


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "AES128-SHA", "NULL-SHA256"])
def test_suites_outside_the_profile_are_refused(listener: Pair, suite: str):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers(f"{suite}:@SECLEVEL=0")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "HANDSHAKE_FAILURE" in handshake_error(listener, client)


def handshake_error(listener: Pair, client: ssl.SSLContext) -> str:
    with (
        receiver(server_context(serving(listener))) as scp,
        socket.create_connection((HOST, scp.port)) as plain,
        pytest.raises(ssl.SSLError) as refused,
    ):
        client.wrap_socket(plain)
    return str(refused.value.reason)


def test_our_own_sender_speaks_tls_and_shows_its_certificate(
    listener: Pair, hospital: Pair, modality: Pair, tmp_path: Path
):
    server = server_context(serving(listener, tls_client_authority=hospital.certificate))
    client = client_context(serving(modality, tls_client_authority=hospital.certificate))
    with receiver(server) as scp:
        sent = send(save(tmp_path, mr_image()), host=HOST, port=scp.port, tls=client)
    assert (sent.stored, len(scp.taken)) == (1, 1)


def test_without_a_certificate_no_tls_is_served():
    assert server_context(Settings()) is None
    assert ServerTls(Settings()).context() is None


def test_certificate_and_key_may_share_a_file(listener: Pair, tmp_path: Path):
    both = tmp_path / "both.pem"
    both.write_text(listener.key.read_text() + listener.certificate.read_text())
    assert server_context(Settings(tls_certificate=both)) is not None


# What a site is told


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"tls_key": Path("x")}, "DBP_TLS_KEY is set but DBP_TLS_CERTIFICATE is not"),
        ({"tls_client_authority": Path("x")}, "DBP_TLS_CLIENT_AUTHORITY is set but"),
        ({"plain_port_closed": True}, "DBP_PLAIN_PORT_CLOSED is set but"),
    ],
)
def test_half_a_configuration_is_refused(changes: dict[str, object], names: str):
    with pytest.raises(Misconfigured, match=names):
        server_context(Settings(**changes))


@pytest.mark.parametrize(
    ("setting", "variable"),
    [
        ("tls_certificate", "DBP_TLS_CERTIFICATE"),
        ("tls_key", "DBP_TLS_KEY"),
        ("tls_client_authority", "DBP_TLS_CLIENT_AUTHORITY"),
    ],
)
@pytest.mark.parametrize("content", [None, "nonsense", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_missing_or_damaged_file_is_named_by_its_setting(
    listener: Pair, tmp_path: Path, setting: str, variable: str, content: str | None
):
    path = tmp_path / "wrong.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Misconfigured, match=variable):
        server_context(serving(listener).model_copy(update={setting: path}))


def test_a_key_of_another_certificate_is_refused(listener: Pair, modality: Pair):
    with pytest.raises(Misconfigured, match="DBP_TLS_KEY is not the key of DBP_TLS_CERTIFICATE"):
        server_context(Settings(tls_certificate=listener.certificate, tls_key=modality.key))


def test_a_locked_key_is_refused(listener: Pair, tmp_path: Path):
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", listener.key]
    subprocess.run([*command, "-out", locked], check=True, capture_output=True)
    with pytest.raises(Misconfigured, match="DBP_TLS_KEY is locked with a password"):
        server_context(Settings(tls_certificate=listener.certificate, tls_key=locked))


@pytest.mark.parametrize(
    ("start", "end", "words"), [(-10, -1, "has expired"), (1, 10, "is not valid yet")]
)
def test_a_certificate_out_of_date_is_refused(
    hospital: Pair, tmp_path: Path, start: float, end: float, words: str
):
    pair = signed(tmp_path, hospital, "old", days=end, start_days=start)
    with pytest.raises(Misconfigured, match=f"DBP_TLS_CERTIFICATE {words}"):
        server_context(serving(pair))


def test_a_certificate_that_ends_soon_is_logged(hospital: Pair, tmp_path: Path):
    with capture_logs() as log:
        server_context(serving(signed(tmp_path, hospital, "soon", days=5)))
    assert [(line["event"], line["days"]) for line in log] == [("tls_certificate_expires_soon", 4)]


# Renewal


def renewed(pair: Pair, by: Pair) -> None:
    pair.certificate.write_bytes(by.certificate.read_bytes())
    pair.key.write_bytes(by.key.read_bytes())


def presented(context: ssl.SSLContext, hospital: Pair) -> object:
    """The subject of the certificate that a client sees."""
    client = client_context(Settings(tls_client_authority=hospital.certificate))
    with (
        receiver(context) as scp,
        socket.create_connection((HOST, scp.port)) as plain,
        client.wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        return secured.getpeercert()["subject"][0][0][1]


def test_a_renewed_certificate_is_served_without_a_restart(
    listener: Pair, hospital: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0)
    served = ServerTls(serving(listener))
    assert presented(served.context(), hospital) == "listener"
    renewed(listener, signed(tmp_path, hospital, "renewed"))
    assert presented(served.context(), hospital) == "renewed"


def test_a_renewal_that_went_wrong_is_logged_and_the_last_good_one_goes_on(
    listener: Pair, hospital: Pair, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0)
    served = ServerTls(serving(listener))
    listener.certificate.write_text("half of it")
    with capture_logs() as log:
        assert presented(served.context(), hospital) == "listener"
        served.context()
    assert [line["event"] for line in log] == ["tls_not_renewed"]
