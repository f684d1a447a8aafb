"""Whether a host answers at all: TCP and TLS tried by hand, so that a failure has a cause."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

from deepbrainprint.intake.sender_check.explanations import Explanation, Unreachable

_QUIET_SECONDS = 0.5  # in which a server says that it dislikes our certificate (TLS 1.3)

# Alerts of the server (RFC 8446 §6), as OpenSSL names them in `reason`.
_WANTS_CERTIFICATE = (
    "CERTIFICATE_REQUIRED",
    "HANDSHAKE_FAILURE",
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
)
_TOO_OLD = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "TLSV1_ALERT_PROTOCOL_VERSION")

_VERIFY = {  # X509_V_ERR_… of OpenSSL
    9: Explanation(
        "tls_certificate_not_yet_valid",
        "the receiver's certificate is not valid yet",
        "Compare the clocks of both machines.",
    ),
    10: Explanation(
        "tls_certificate_expired",
        "the receiver's certificate has expired",
        "Renew the certificate at the receiver.",
    ),
    18: Explanation(
        "tls_certificate_unknown",
        "the receiver's certificate is signed by itself, and we were not told to trust it",
        "Give that certificate with --authority, or let the hospital's authority sign it.",
    ),
    62: Explanation(
        "tls_host_mismatch",
        "the receiver's certificate is for another host than {host}",
        "Call the receiver by the name in its certificate, or allow it with --any-host.",
    ),
}
_VERIFY[64] = _VERIFY[62]
_UNTRUSTED = Explanation(
    "tls_certificate_unknown",
    "the receiver's certificate is signed by an authority that we were not told to trust",
    "Give the authority's certificate (PEM) with --authority.",
)
_SILENT = Explanation(
    "no_answer",
    "{host} does not answer on port {port}",
    "Check the address, that the receiver runs, and the firewalls between the two machines.",
)


def try_tcp(host: str, port: int, *, patience_seconds: float) -> None:
    """Open and close a connection. Unreachable says why there is none."""
    _connect(host, port, patience_seconds).close()


def try_tls(
    host: str, port: int, context: ssl.SSLContext, *, patience_seconds: float
) -> dict[str, Any]:
    """Shake hands and close: version, suite, end of the certificate. Unreachable says why not."""
    with _connect(host, port, patience_seconds) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secured:
                _hear_objections(secured)
                return _facts(secured)
        except (OSError, ValueError) as error:
            raise Unreachable(_tls_failure(error, host, port)) from None


def speaks_tls(host: str, port: int, *, patience_seconds: float) -> bool:
    """Whether a server answers in TLS, be it with a refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            _connect(host, port, patience_seconds) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, Unreachable):
        return False


def _connect(host: str, port: int, patience_seconds: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=patience_seconds)
    except (OSError, ValueError, OverflowError) as error:
        raise Unreachable(_tcp_failure(error).about(host=host, port=port)) from None


def _tcp_failure(error: Exception) -> Explanation:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return Explanation(
            "unknown_host",
            "no machine is called {host}",
            "Correct the name, or give the IP address.",
        )
    if isinstance(error, ConnectionRefusedError):
        return Explanation(
            "connection_refused",
            "{host} is there, but nothing listens on port {port}",
            "Start the receiver, or correct the port. A firewall that rejects looks the same.",
        )
    if getattr(error, "errno", None) in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return Explanation(
            "no_route",
            "there is no route to {host}",
            "Check the address, this machine's network cable, VLAN and gateway.",
        )
    return _SILENT


def _hear_objections(secured: ssl.SSLSocket) -> None:
    """In TLS 1.3 a server judges our certificate after we think that all is well."""
    before = secured.gettimeout()
    secured.settimeout(_QUIET_SECONDS)
    try:
        if not secured.recv(1):  # a DICOM receiver waits for us to speak
            raise ConnectionResetError
    except TimeoutError:
        return
    finally:
        secured.settimeout(before)


def _facts(secured: ssl.SSLSocket) -> dict[str, Any]:
    certificate = secured.getpeercert() or {}
    suite = secured.cipher() or ("", "", 0)
    ends = certificate.get("notAfter", "")
    return {"version": secured.version(), "suite": suite[0], "certificate_ends": ends}


def _tls_failure(error: Exception, host: str, port: int) -> Explanation:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, _UNTRUSTED).about(host=host, port=port)
    if isinstance(error, TimeoutError):
        return _not_tls(port, "it does not answer the TLS greeting")
    reason = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    if any(name in reason for name in _TOO_OLD):
        return Explanation(
            "tls_too_old",
            "the receiver speaks no TLS as new as 1.2",
            "Switch on TLS 1.2 or 1.3 at the receiver; older ones are broken.",
        )
    if any(name in reason for name in _WANTS_CERTIFICATE):
        return Explanation(
            "tls_client_certificate_refused",
            "the receiver refuses our certificate, misses one, or shares no cipher suite with us "
            f"({reason.lower().replace('_', ' ')})",
            "Give the modality's certificate with --certificate and --key; its authority must be "
            "known to the receiver.",
        )
    return _not_tls(port, "it breaks the TLS greeting off")


def _not_tls(port: int, how: str) -> Explanation:
    return Explanation(
        "no_tls",
        f"port {port} is open but does not speak TLS: {how}",
        "Leave --tls out, or give the receiver's TLS port (2762 by convention).",
    )
