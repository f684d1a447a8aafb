"""Certificates of a hospital that does not exist, made for one test."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in memory and as PEM files."""

    certificate: Path
    key: Path
    body: x509.Certificate
    secret: ec.EllipticCurvePrivateKey


def authority(folder: Path, name: str = "hospital") -> Pair:
    """One that signs others."""
    return _made(folder, name, None, days=3650, start_days=-1)


def signed(
    folder: Path,
    by: Pair,
    name: str = "listener",
    *,
    days: float = 365,
    start_days: float = -2,
    host: str = "localhost",
) -> Pair:
    """A certificate for `host` and 127.0.0.1 (unless it is another host) signed by an authority."""
    return _made(folder, name, by, days=days, start_days=start_days, host=host)


def _made(
    folder: Path,
    name: str,
    by: Pair | None,
    *,
    days: float,
    start_days: float,
    host: str = "",
) -> Pair:
    secret = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title if by is None else by.body.subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=start_days))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
    body = builder.sign(secret if by is None else by.secret, hashes.SHA256())
    return _written(folder, name, body, secret)


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    return names


def _written(
    folder: Path, name: str, body: x509.Certificate, secret: ec.EllipticCurvePrivateKey
) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key", body, secret)
    pair.certificate.write_bytes(body.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pair
