"""`check-sender` and TLS: each way in which two machines do not trust one another."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import Pair, authority, signed
from tests.integration.archive import (
    HOST,
    Archive,
    abort_with,
    behind_tls,
    check,
    first_failure,
    hang_up,
    outcomes,
    raw_server,
    silence,
    trusting,
)


@pytest.fixture
def hospital(tmp_path: Path) -> Pair:
    return authority(tmp_path)


def test_all_is_well_in_tls_too(hospital: Pair, tmp_path: Path):
    shown = signed(tmp_path, hospital, "modality")
    archive = behind_tls(signed(tmp_path, hospital), tls_client_authority=hospital.certificate)
    with archive.open() as port:
        found = check(port, tls=trusting(hospital, shown))
    assert set(outcomes(found).values()) == {"ok"}, found
    assert found["TLS"].words.startswith("TLSv1.3 with")
    assert "valid until" in found["TLS"].words


def test_an_unknown_authority(hospital: Pair, tmp_path: Path):
    with behind_tls(signed(tmp_path, hospital)).open() as port:
        found = check(port, tls=trusting(authority(tmp_path, "another")))
    assert first_failure(found).code == "tls_certificate_unknown"
    assert found["echo"].words == "not tried"


def test_a_certificate_of_another_host(hospital: Pair, tmp_path: Path):
    with behind_tls(signed(tmp_path, hospital, host="pacs.example")).open() as port:
        failure = first_failure(check(port, tls=trusting(hospital)))
    assert failure.code == "tls_host_mismatch"
    assert HOST in failure.words


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [(-9, -1, "tls_certificate_expired"), (1, 9, "tls_certificate_not_yet_valid")],
)
def test_a_certificate_out_of_date(
    hospital: Pair, tmp_path: Path, start: float, end: float, code: str
):
    old = signed(tmp_path, hospital, "old", start_days=start, days=end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(old.certificate, old.key)
    with Archive(context=context).open() as port:
        assert first_failure(check(port, tls=trusting(hospital))).code == code


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_receiver_that_wants_a_certificate_from_us(
    hospital: Pair, tmp_path: Path, newest: ssl.TLSVersion
):
    archive = behind_tls(signed(tmp_path, hospital), tls_client_authority=hospital.certificate)
    assert archive.context is not None
    archive.context.maximum_version = newest
    with archive.open() as port:
        failure = first_failure(check(port, tls=trusting(hospital)))
    assert (failure.step, failure.code) == ("TLS", "tls_client_certificate_refused")
    assert "--certificate" in failure.fix


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_receiver_with_old_tls_only(hospital: Pair, tmp_path: Path):
    pair = signed(tmp_path, hospital)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.load_cert_chain(pair.certificate, pair.key)
    with Archive(context=context).open() as port:
        assert first_failure(check(port, tls=trusting(hospital))).code == "tls_too_old"


@pytest.mark.parametrize("behave", [silence, hang_up, abort_with(2, 1)])
def test_tls_to_a_plain_port(hospital: Pair, behave: Callable[[socket.socket], None]):
    with raw_server(behave) as port:
        assert first_failure(check(port, tls=trusting(hospital), patience=1)).code == "no_tls"


def test_tls_to_the_plain_port_of_a_dicom_receiver(hospital: Pair):
    with Archive().open() as port:
        assert first_failure(check(port, tls=trusting(hospital), patience=2)).code == "no_tls"


@pytest.mark.parametrize("wants_certificate", [False, True])
def test_plain_dicom_to_a_tls_port(hospital: Pair, tmp_path: Path, wants_certificate: bool):
    wanted = hospital.certificate if wants_certificate else None
    archive = behind_tls(signed(tmp_path, hospital), tls_client_authority=wanted)
    with archive.open() as port:
        failure = first_failure(check(port, patience=2))
    assert (failure.step, failure.code) == ("echo", "tls_expected")
