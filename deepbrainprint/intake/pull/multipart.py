"""The parts of an answer (RFC 2046 §5.1) as streams, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.dicomweb.multipart import (
    Event,
    MultipartReader,
    PartBegins,
    PartBytes,
    PartEnds,
    media_type,
)


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type names; empty when it is none of multipart."""
    kind, parameters = media_type(content_type)
    return parameters.get("boundary", "") if kind.startswith("multipart/") else ""


def parts(chunks: Iterable[bytes], boundary: str) -> Iterator[Iterator[bytes]]:
    """The content of each part, in chunks. What is left of a part is skipped.

    TryAgain with code `pacs_broke_off` when the body ends before its last boundary does.
    """
    events = _events(chunks, boundary)
    for event in events:
        if isinstance(event, PartBegins):
            content = _content(events)
            yield content
            for _ in content:
                pass


def broken() -> TryAgain:
    """The error of a body that ends too early."""
    return TryAgain("the PACS broke off in the middle of an answer", code="pacs_broke_off")


def _events(chunks: Iterable[bytes], boundary: str) -> Iterator[Event]:
    try:
        reader = MultipartReader(boundary)
        for chunk in chunks:
            yield from reader.feed(chunk)
        reader.finish()
    except BadStudy:
        raise broken() from None


def _content(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, PartEnds):
            return
        if isinstance(event, PartBytes):
            yield event.content
