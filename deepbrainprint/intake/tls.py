"""DICOM over TLS by the BCP 195 profile (PS3.15 B.12): TLS 1.2 or 1.3, forward secrecy, AEAD."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import structlog

from deepbrainprint.errors import Misconfigured
from deepbrainprint.settings import Settings

log = structlog.get_logger()

# RFC 9325 §4.2; those of TLS 1.3 are all fit and are not configured here.
_SUITES_OF_TLS_1_2 = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_… of OpenSSL
_WARN_DAYS = 30.0
_DAY_SECONDS = 86400.0
_LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class TlsFiles:
    """Where our certificate, its key and the trusted authorities lie (PEM), and who said so."""

    certificate: Path | None
    key: Path | None
    authority: Path | None
    certificate_name: str = "DBP_TLS_CERTIFICATE"
    key_name: str = "DBP_TLS_KEY"
    authority_name: str = "DBP_TLS_CLIENT_AUTHORITY"


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """What the listener speaks TLS with; None when the site serves none.

    With DBP_TLS_CLIENT_AUTHORITY a sender must show a certificate of that authority. Misconfigured
    names the setting whose file is missing, unreadable, damaged, of another key or out of date.
    """
    files = _files_of(settings)
    if files.certificate is None:
        _refuse_half_configured(settings)
        return None
    context = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _load_own(context, files)
    _warn_before_expiry(_prove(context, files), files)
    if files.authority is not None:
        _load_authority(context, files)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: Settings) -> ssl.SSLContext:
    """What we speak TLS with when we call others; shows our certificate where there is one.

    Others are believed when DBP_TLS_CLIENT_AUTHORITY signed them, without it when the machine's
    own authorities did. Misconfigured as with `server_context`.
    """
    return client_context_of(_files_of(settings))


def client_context_of(files: TlsFiles, *, any_host: bool = False) -> ssl.SSLContext:
    """The same from files named otherwise; `any_host` believes a certificate of another host."""
    context = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = not any_host
    if files.certificate is not None:
        _load_own(context, files)
    if files.authority is not None:
        _load_authority(context, files)
    else:
        context.load_default_certs()
    return context


class ServerTls:
    """The server's context, made anew when its files have changed. Thread-safe.

    A renewed certificate is in use within seconds and without a restart; one that is not in order
    is reported in the log, and the last good one goes on.
    """

    def __init__(self, settings: Settings) -> None:
        """Misconfigured as with `server_context`."""
        self._settings = settings
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._looked_at = time.monotonic()
        self._context = server_context(settings)

    def context(self) -> ssl.SSLContext | None:
        """What to speak with now; None when the site serves no TLS."""
        with self._lock:
            if self._context is not None and time.monotonic() > self._looked_at + (
                _LOOK_AGAIN_SECONDS
            ):
                self._looked_at = time.monotonic()
                self._renew()
            return self._context

    def _renew(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._context = server_context(self._settings)
        except Misconfigured as error:
            log.error("tls_not_renewed", code=error.code, reason=str(error))  # noqa: TRY400
        else:
            log.info("tls_renewed")

    def _stamps(self) -> list[tuple[int, int] | None]:
        files = _files_of(self._settings)
        return [_stamp(path) for path in (files.certificate, files.key, files.authority)]


def _files_of(settings: Settings) -> TlsFiles:
    return TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_authority)


def _refuse_half_configured(settings: Settings) -> None:
    wanted = {
        "DBP_TLS_KEY": settings.tls_key is not None,
        "DBP_TLS_CLIENT_AUTHORITY": settings.tls_client_authority is not None,
        "DBP_PLAIN_PORT_CLOSED": settings.plain_port_closed,
    }
    for name, is_set in wanted.items():
        if is_set:
            raise Misconfigured(
                f"{name} is set but DBP_TLS_CERTIFICATE is not: set it to our certificate (PEM)",
                code="tls_certificate_missing",
            )


def _restricted(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    certificate = files.certificate or Path()
    _require_pem(certificate, "CERTIFICATE-----", files.certificate_name)
    key, key_name = files.key or certificate, files.key_name
    _require_pem(key, "PRIVATE KEY-----", key_name)
    try:
        context.load_cert_chain(certificate, key, password=lambda: _refuse_password(key_name))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Misconfigured(
                f"{key_name} is not the key of {files.certificate_name}: set them to a pair",
                code="tls_key_mismatch",
            ) from None
        raise Misconfigured(
            f"{files.certificate_name} or {key_name} is damaged or too weak "
            f"({_reason(error)}): replace it",
            code="tls_file_damaged",
        ) from None


def _load_authority(context: ssl.SSLContext, files: TlsFiles) -> None:
    authority, name = files.authority or Path(), files.authority_name
    _require_pem(authority, "CERTIFICATE-----", name)
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise Misconfigured(
            f"{name} is damaged ({_reason(error)}): replace it", code="tls_file_damaged"
        ) from None


def _require_pem(path: Path, mark: str, name: str) -> None:
    try:
        text = path.read_text("ascii", "replace")
    except OSError as error:
        raise Misconfigured(
            f"{name}: cannot read {path} ({error.strerror}): correct the path or its rights",
            code="tls_file_unreadable",
        ) from None
    if mark not in text:
        raise Misconfigured(
            f"{name}: {path} holds no {mark.strip('-').lower()} in PEM format: set it to one",
            code="tls_file_damaged",
        )


def _refuse_password(name: str) -> NoReturn:
    raise Misconfigured(
        f"{name} is locked with a password: store the key without one, readable by us alone",
        code="tls_key_locked",
    )


def _prove(context: ssl.SSLContext, files: TlsFiles) -> dict[str, Any]:
    """Shake hands with ourselves: certificate, key and suites work; what the certificate says."""
    judge = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    judge.check_hostname = False
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate vouches for itself
    judge.load_verify_locations(files.certificate)
    try:
        return _shake_hands(context, judge)
    except ssl.SSLCertVerificationError as error:
        raise _unfit(error, files.certificate_name) from None
    except ssl.SSLError as error:
        raise Misconfigured(
            f"{files.certificate_name} cannot be used ({_reason(error)}): replace it with an RSA "
            "certificate of at least 2048 bits or an ECDSA one",
            code="tls_file_damaged",
        ) from None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # flights of a handshake
        for side in (asking, answering):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return asking.getpeercert() or {}


def _unfit(error: ssl.SSLCertVerificationError, name: str) -> Misconfigured:
    match error.verify_code:
        case code if code == _EXPIRED:
            return Misconfigured(
                f"{name} has expired: renew the certificate", code="tls_certificate_expired"
            )
        case code if code == _NOT_YET_VALID:
            return Misconfigured(
                f"{name} is not valid yet: check this machine's clock, or wait",
                code="tls_certificate_not_yet_valid",
            )
        case _:
            return Misconfigured(
                f"{name} is no server certificate ({error.verify_message}): replace it",
                code="tls_certificate_unfit",
            )


def _warn_before_expiry(certificate: dict[str, Any], files: TlsFiles) -> None:
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = (ends - time.time()) / _DAY_SECONDS
    if days < _WARN_DAYS:
        log.warning("tls_certificate_expires_soon", setting=files.certificate_name, days=int(days))


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no reason given").lower().replace("_", " ")


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_ino)
