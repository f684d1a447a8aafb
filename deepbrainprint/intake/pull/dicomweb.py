"""Fetches by DICOMweb: QIDO-RS and WADO-RS (PS3.18 §10.4, §10.6)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from deepbrainprint.errors import BadStudy, DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.intake.dicomweb.file_meta import no_meta, read_file_meta
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.pull.asks import Ask, Kind
from deepbrainprint.intake.pull.inbox import Inbox
from deepbrainprint.intake.pull.multipart import boundary_of, broken, parts
from deepbrainprint.intake.pull.source import Found, Listed

log = structlog.get_logger()

_KEYS = {
    Kind.ACCESSION: "AccessionNumber",
    Kind.PATIENT: "PatientID",
    Kind.STUDY: "StudyInstanceUID",
}
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_JSON = {"Accept": "application/dicom+json"}
_PARTS = {  # as the PACS keeps them: not encoded anew
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "Accept-Encoding": "identity",
}
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_PAGE = 200
_LONGEST_META_BYTES = 1 << 16
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class WebSource:
    """One DICOMweb server; not to be shared between threads."""

    def __init__(
        self, url: str, *, name: str, token: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        _require_safe(url, token)
        self.name = name
        self._place = urlsplit(url).hostname or url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT, verify=tls or True
        )

    def find(self, ask: Ask, modalities: Sequence[str]) -> list[Found]:
        """Studies, by QIDO-RS."""
        return [
            _found(answer)
            for keys in _questions(ask, modalities)
            for answer in self._pages("/studies", keys | {"includefield": "00201208"})
        ]

    def listing(self, study_uid: str) -> list[Listed]:
        """The instances of a study, by QIDO-RS."""
        answers = self._pages(f"/studies/{study_uid}/instances", {"includefield": _CLASS})
        return [
            Listed(_value(a, _SERIES), _value(a, _INSTANCE), _value(a, _CLASS)) for a in answers
        ]

    def fetch(self, study_uid: str, wanted: Sequence[Listed], inbox: Inbox) -> None:
        """Bring instances into `inbox` by WADO-RS, in the encoding that the PACS keeps."""
        study = f"/studies/{study_uid}"
        paths = [f"{study}/series/{w.series_uid}/instances/{w.sop_instance_uid}" for w in wanted]
        for path in paths or [study]:
            inbox.clock.require_going()
            self._fetch(path, inbox)

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _fetch(self, path: str, inbox: Inbox) -> None:
        with self._answer(path, {}, _PARTS) as answer:
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            chunks = answer.iter_bytes()
            for content in parts(chunks, boundary) if boundary else [chunks]:
                inbox.clock.require_going()
                self._take(content, inbox)

    def _take(self, content: Iterator[bytes], inbox: Inbox) -> None:
        try:
            request, beginning = _split(content, self.name)
            inbox.take(request, chain([beginning], content))
        except BadStudy as error:  # the next part may be sound
            log.warning("part_refused", code=error.code)

    def _pages(self, path: str, keys: dict[str, str]) -> Iterator[dict[str, Any]]:
        """All answers to a question, a page at a time, until a page brings nothing new."""
        seen: set[tuple[str, str]] = set()
        while True:
            page = {"limit": str(_PAGE), "offset": str(len(seen))}
            new = [
                answer
                for answer in self._page(path, keys | page)
                if (_value(answer, _STUDY), _value(answer, _INSTANCE)) not in seen
            ]
            if not new:
                return
            seen |= {(_value(answer, _STUDY), _value(answer, _INSTANCE)) for answer in new}
            yield from new

    def _page(self, path: str, keys: dict[str, str]) -> list[dict[str, Any]]:
        with self._answer(path, keys, _JSON) as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return []
            try:
                answer.read()
                return list(answer.json())
            except (ValueError, TypeError):
                raise self._trouble("answers something that is no DICOM JSON") from None

    @contextmanager
    def _answer(
        self, path: str, keys: dict[str, str], headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        """A response whose status is good; its body is still on the way."""
        try:
            with self._client.stream("GET", path, params=keys, headers=headers) as answer:
                self._require_success(answer)
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise TryAgain(
                f"{self._place} does not answer: start it, or correct --url or its certificate",
                code="pacs_away",
            ) from None
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.TimeoutException):
            raise broken() from None
        except httpx.HTTPError:
            raise self._trouble("breaks the rules of HTTP") from None

    def _require_success(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if answer.is_success:
            return
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Misconfigured(
                f"{self._place} refuses us: renew DBP_PULL_TOKEN or DBP_PULL_TOKEN_FILE",
                code="token_refused",
            )
        if answer.is_redirect:
            raise Misconfigured(
                f"{self._place} points elsewhere: give --url as it is in the end",
                code="redirected",
            )
        raise self._trouble(f"answers with status {status}: look into its log")

    def _trouble(self, how: str) -> DeepBrainPrintError:
        return TryAgain(f"{self._place} {how}", code="pacs_failed")


def _require_safe(url: str, token: str) -> None:
    parts_of = urlsplit(url)
    if parts_of.scheme not in {"http", "https"} or not parts_of.hostname:
        raise Misconfigured("--url reads https://host/path of the DICOMweb service", code="bad_url")
    if parts_of.username or parts_of.password or parts_of.query:
        raise Misconfigured(
            "--url holds a user, a password or a query, which others on this machine can read: "
            "put a token into DBP_PULL_TOKEN_FILE",
            code="bad_url",
        )
    if token and parts_of.scheme == "http" and parts_of.hostname not in _LOOPBACK:
        raise Misconfigured(
            "a token over http can be read on the way: use an https --url", code="token_unsafe"
        )


def _questions(ask: Ask, modalities: Sequence[str]) -> Iterator[dict[str, str]]:
    if ask.kind in {Kind.ACCESSION, Kind.STUDY}:
        yield {_KEYS[ask.kind]: ask.value}
        return
    for modality in modalities or ("",):
        of = {"ModalitiesInStudy": modality} if modality else {}
        if ask.kind is Kind.PATIENT:
            yield {"PatientID": ask.value} | of
            continue
        for day in ask.days():
            yield {"StudyDate": day} | of


def _found(answer: dict[str, Any]) -> Found:
    expected = _value(answer, "00201208")
    return Found(
        study_uid=_value(answer, _STUDY),
        expected=int(expected) if expected.isdecimal() else None,
        modalities=frozenset(filter(None, _value(answer, "00080061").split("\\"))),
        accession=_value(answer, "00080050"),
        patient=_value(answer, "00100020"),
        day=_value(answer, "00080020"),
    )


def _value(answer: dict[str, Any], tag: str) -> str:
    """A value of the DICOM JSON model (PS3.18 Annex F), several joined by a backslash."""
    values = answer.get(tag, {}).get("Value") or []
    return "\\".join(str(value).strip() for value in values)


def _split(content: Iterator[bytes], name: str) -> tuple[Request, bytes]:
    """What the file meta information says, and the beginning of the data set behind it."""
    head = b""
    for chunk in content:
        head += chunk
        meta = read_file_meta(head, calling_ae=name)
        if meta is not None:
            request, start = meta
            return request, head[start:]
        if len(head) > _LONGEST_META_BYTES:
            break
    raise no_meta()
