"""What surrounds every answer of the HTTP door: headers, one log line, and no traceback."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepbrainprint.intake.logs import place_of

log = structlog.get_logger()

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ONE_YEAR_OF_TLS = "max-age=31536000"


def refusal(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer with a code for programs and a line for people."""
    return JSONResponse({"code": code, "message": message}, status, dict(headers or {}))


class Guard:
    """Middleware. What it logs is the route, not the path: paths and queries say who is asked for.

    An exception ends here, because the server would log its text, which may quote a header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        started = time.monotonic()
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                _add_headers(scope, message)
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:  # noqa: BLE001
            log.error("request_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            if not status:
                answer = refusal(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "see the service's log"
                )
                await answer(scope, receive, send_guarded)
        _note(scope, status, time.monotonic() - started)


def _add_headers(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    headers.update(_HEADERS)
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = _ONE_YEAR_OF_TLS


def _note(scope: Scope, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    holder = scope.get("state", {}).get("holder")
    log.info(
        "request",
        method=scope["method"] if scope["method"] in {"GET", "POST"} else "other",
        route=getattr(route, "path", None),
        status=status,
        seconds=round(seconds, 4),
        token=getattr(holder, "name", None),
        address=(scope.get("client") or ("",))[0],
    )
