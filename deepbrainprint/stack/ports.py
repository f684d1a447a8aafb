"""Which TCP ports the stack answers on."""

from __future__ import annotations

import socket

from deepbrainprint.errors import Misconfigured

_TRIES = 50


def choose_port(wanted: int, *, host: str, setting: str, explicit: bool) -> int:
    """`wanted` when it is free, else a free one near it.

    Misconfigured when the site asked for this very port and it is taken: scanners are set up for
    a number, and silently listening elsewhere would lose their studies.
    """
    if is_free(wanted, host=host):
        return wanted
    if explicit:
        raise Misconfigured(
            f"{setting}: port {wanted} is taken or not ours to use: stop what uses it or choose "
            f"another",
            code="port_taken",
        )
    nearby = range(wanted + 1, min(wanted + _TRIES, 65536))
    return next((port for port in nearby if is_free(port, host=host)), 0) or _any_port(host)


def is_free(port: int, *, host: str) -> bool:
    """True when a server could bind `port` now."""
    try:
        _bound_port(host, port)
    except OSError:
        return False
    return True


def _any_port(host: str) -> int:
    return _bound_port(host, 0)


def _bound_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        found: int = server.getsockname()[1]
        return found
