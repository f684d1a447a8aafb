"""The HTTP door: QIDO-RS and STOW-RS (DICOM PS3.18 §10) for those who hold a token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from deepbrainprint.database.arrivals import is_answering
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import DeepBrainPrintError, TryAgain
from deepbrainprint.intake.dicomweb.guard import Guard, refusal
from deepbrainprint.intake.dicomweb.multipart import media_type
from deepbrainprint.intake.dicomweb.stow import PART_TYPE, Outcome, Upload, repeats
from deepbrainprint.intake.dicomweb.tokens import Holder, Right, Tokens
from deepbrainprint.intake.disk import DiskState
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.finding.attributes import Level
from deepbrainprint.intake.finding.audit import record_query
from deepbrainprint.intake.finding.qido import MEDIA_TYPE, read_search, run_search
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_BLOCK = 1 << 20  # bytes handed to a worker thread at one time
_RETRY = {"Retry-After": "60"}  # seconds


def create_app(settings: Settings, database: Database) -> FastAPI:
    """The application, to be served alone or mounted beneath another one."""
    app = FastAPI(title="DeepBrainPrint DICOMweb", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_router(settings, database))
    app.add_exception_handler(DeepBrainPrintError, _say_error)
    app.add_exception_handler(_Refused, _say_error)
    app.add_middleware(Guard)
    return app


class _Refused(Exception):
    """A request that is answered by a status other than that of its error."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        self.answer = refusal(status, code, message, headers)
        super().__init__(code)


def _router(settings: Settings, database: Database) -> APIRouter:
    tokens = Tokens(settings, database)
    searching = _Searching(settings, database)
    storing = _Storing(settings, database)
    may_query, may_store = _bearer(tokens, Right.QUERY), _bearer(tokens, Right.STORE)
    router = APIRouter()
    for path, endpoint in {
        "/studies": searching.studies,
        "/series": searching.series,
        "/instances": searching.instances,
        "/studies/{study}/series": searching.series,
        "/studies/{study}/instances": searching.instances,
        "/studies/{study}/series/{series}/instances": searching.instances,
    }.items():
        router.get(path, response_model=None, dependencies=[Depends(may_query)])(endpoint)
    for path in ("/studies", "/studies/{study}"):
        router.post(path, response_model=None, dependencies=[Depends(may_store)])(storing.store)
    router.get("/healthz", response_model=None)(_is_alive)
    router.get("/readyz", response_model=None)(storing.is_ready)
    return router


def _bearer(tokens: Tokens, right: Right) -> Callable[[Request], None]:
    """A check that the request carries a token with this right (RFC 6750)."""

    def check(request: Request) -> None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        holder = tokens.holder(secret.strip()) if scheme.lower() == "bearer" else None
        if holder is None:
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                "no_token",
                "send a valid token as `Authorization: Bearer …`; "
                "`deepbrainprint token add NAME` makes one",
                **{"WWW-Authenticate": 'Bearer realm="deepbrainprint"'},
            )
        request.state.holder = holder
        if right not in holder.rights:
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                "no_right",
                f"this token may not {right}: make one with --may {right}",
            )

    return check


class _Searching:
    """QIDO-RS."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._most = settings.most_answers
        self._database = database

    def studies(self, request: Request) -> Response:
        return self._search(request, Level.STUDY)

    def series(self, request: Request) -> Response:
        return self._search(request, Level.SERIES)

    def instances(self, request: Request) -> Response:
        return self._search(request, Level.IMAGE)

    def _search(self, request: Request, level: Level) -> Response:
        _require_json_welcome(request)
        names = {Level.STUDY: "study", Level.SERIES: "series"}
        within = {
            above: request.path_params[name]
            for above, name in names.items()
            if name in request.path_params
        }
        asked = read_search(level, request.query_params.multi_items(), within)
        result = run_search(self._database, asked, most=self._most)
        actor = f"token:{_holder(request).name}"
        record_query(self._database, asked.question, actor=actor, answers=result.count)
        response = Response(result.body, media_type=MEDIA_TYPE)
        for warning in result.warnings:
            response.headers.append("Warning", f'299 deepbrainprint "{warning}"')
        return response


class _Storing:
    """STOW-RS."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._filing = Filing(settings, database)

    async def store(self, request: Request) -> Response:
        upload = Upload(
            self._settings,
            self._filing,
            sender=_holder(request).name,
            boundary=_boundary(request),
            study_uid=request.path_params.get("study", ""),
        )
        try:
            async for block in _blocks(request, self._settings):
                await run_in_threadpool(upload.feed, block)
            return _store_answer(await run_in_threadpool(upload.finish))
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        finally:
            upload.close()
            _note(request, upload.outcome)

    def is_ready(self) -> Response:
        """Whether an instance would be taken now."""
        disk = self._filing.disk.state()
        with self._database.statement() as connection:
            is_answering(connection)
        ready = disk is not DiskState.FULL
        return JSONResponse(
            {"ready": ready, "disk": disk},
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )


def _is_alive() -> Response:
    return JSONResponse({"alive": True})


def _holder(request: Request) -> Holder:
    holder: Holder = request.state.holder
    return holder


def _require_json_welcome(request: Request) -> None:
    accept = request.headers.get("accept", "*/*")
    offered = {media_type(part)[0] for part in accept.split(",")}
    if not offered & {MEDIA_TYPE, "application/json", "application/*", "*/*"}:
        raise _Refused(
            HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", f"answers come as {MEDIA_TYPE} only"
        )


def _boundary(request: Request) -> str:
    kind, parameters = media_type(request.headers.get("content-type", ""))
    inner = parameters.get("type", PART_TYPE).lower()
    encoding = request.headers.get("content-encoding", "identity").lower()
    if kind != "multipart/related" or inner != PART_TYPE or encoding != "identity":
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            f'send multipart/related; type="{PART_TYPE}"; boundary=…, without Content-Encoding',
        )
    return parameters.get("boundary", "")


async def _blocks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body in pieces of about a megabyte, within bounds of size and silence."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > settings.dicomweb_body_bytes:
        raise _too_large()
    block, size = bytearray(), 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(settings.network_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise _Refused(
                HTTPStatus.REQUEST_TIMEOUT, "body_stalled", "the body did not go on: send it again"
            ) from None
        size += len(piece)
        if size > settings.dicomweb_body_bytes:
            raise _too_large()
        block += piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _too_large() -> _Refused:
    return _Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        "the body is larger than DBP_DICOMWEB_BODY_BYTES: send fewer instances at a time",
    )


def _store_answer(outcome: Outcome) -> Response:
    """PS3.18 Table 10.5.3-1."""
    stored, refused = outcome.stored, outcome.refused
    if not stored and not refused:
        raise _Refused(HTTPStatus.BAD_REQUEST, "no_instances", "the body holds no part")
    headers: dict[str, str] = {}
    status = HTTPStatus.OK if not refused else HTTPStatus.ACCEPTED
    if not stored:
        for_now = all(one.for_now for one in refused)
        status = HTTPStatus.SERVICE_UNAVAILABLE if for_now else HTTPStatus.CONFLICT
        headers = dict(_RETRY) if for_now else {}
    if refused:
        headers["Warning"] = f'299 deepbrainprint "{refused[0].message}"'
    return JSONResponse(outcome.report(), status, headers, media_type=MEDIA_TYPE)


def _note(request: Request, outcome: Outcome) -> None:
    log.info(
        "instances_stored",
        token=_holder(request).name,
        instances=len(outcome.stored),
        repeats=repeats(outcome.stored),
        refused=len(outcome.refused),
        size_bytes=outcome.size_bytes,
    )


async def _say_error(_request: Request, error: Any) -> Response:
    """Our own errors as a status, a code for programs and a line for people."""
    if isinstance(error, _Refused):
        return error.answer
    if isinstance(error, TryAgain):
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), _RETRY)
    return refusal(HTTPStatus.BAD_REQUEST, error.code, str(error))
