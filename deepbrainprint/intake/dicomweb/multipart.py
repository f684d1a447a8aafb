"""Takes a multipart body apart as it comes (RFC 2046 §5.1), with little of it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from enum import Enum, auto
from typing import TypeAlias

from deepbrainprint.errors import BadStudy

_LONGEST_BOUNDARY = 200  # RFC 2046 says 70; peers write longer ones
_LONGEST_HEADERS = 16 << 10
_LONGEST_PREAMBLE = 64 << 10


@dataclass(frozen=True)
class PartBegins:
    """A part; its media type is in small letters, empty where the part names none."""

    media_type: str


@dataclass(frozen=True)
class PartBytes:
    """The next bytes of the part that began last."""

    content: bytes = field(repr=False)


@dataclass(frozen=True)
class PartEnds:
    """The part that began last is whole."""


Event: TypeAlias = PartBegins | PartBytes | PartEnds


class _State(Enum):
    PREAMBLE = auto()
    DELIMITER = auto()
    HEADERS = auto()
    CONTENT = auto()
    END = auto()


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """The type of a Content-Type header and its parameters, names in small letters."""
    message = Message()
    message["Content-Type"] = header
    parameters = message.get_params(failobj=[], unquote=True)[1:]
    return message.get_content_type() if header.strip() else "", {
        name.lower(): value for name, value in parameters if isinstance(value, str)
    }


class MultipartReader:
    """Give it the body with `feed`, in pieces of any size; `finish` says that this was all of it.

    Both raise BadStudy, with code `bad_multipart` for a body that is none and `body_cut_off` for
    one that ends before its last delimiter.
    """

    def __init__(self, boundary: str) -> None:
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isprintable():
            raise _malformed("its Content-Type names no boundary")
        self._delimiter = b"\r\n--" + boundary.encode("utf-8")
        self._buffer = bytearray(b"\r\n")  # the first delimiter may open the body
        self._state = _State.PREAMBLE

    def feed(self, piece: bytes) -> Iterator[Event]:
        """What the piece completes."""
        if self._state is _State.END:  # an epilogue is ignored
            return
        self._buffer += piece
        while (event := self._step()) is not None:
            if not isinstance(event, _State):
                yield event

    def finish(self) -> None:
        """Nothing more comes."""
        if self._state is not _State.END:
            raise BadStudy(
                "the body ends before its last delimiter: send it again", code="body_cut_off"
            )

    def _step(self) -> Event | _State | None:
        """One step on: an event, or the state reached without one; None when more must come."""
        match self._state:
            case _State.PREAMBLE:
                return self._skip_preamble()
            case _State.DELIMITER:
                return self._read_delimiter()
            case _State.HEADERS:
                return self._read_headers()
            case _State.CONTENT:
                return self._read_content()
            case _State.END:
                return None

    def _skip_preamble(self) -> _State | None:
        found = self._buffer.find(self._delimiter)
        if found >= 0:
            return self._go(found + len(self._delimiter), _State.DELIMITER)
        if len(self._buffer) > _LONGEST_PREAMBLE:
            raise _malformed("its boundary is not the one that its Content-Type names")
        return None

    def _read_delimiter(self) -> _State | None:
        """What follows a delimiter: two hyphens after the last part, else the end of the line."""
        if len(self._buffer) < 2:
            return None
        if self._buffer.startswith(b"--"):
            return self._go(len(self._buffer), _State.END)
        line_end = self._buffer.find(b"\r\n", 0, _LONGEST_HEADERS)
        if line_end < 0 and len(self._buffer) < _LONGEST_HEADERS:
            return None
        if line_end < 0 or bytes(self._buffer[:line_end]).strip(b" \t"):
            raise _malformed("something follows a delimiter on its line")
        return self._go(line_end, _State.HEADERS)  # the line's end stays: headers may be none

    def _read_headers(self) -> PartBegins | None:
        end = self._buffer.find(b"\r\n\r\n", 0, _LONGEST_HEADERS)
        if end < 0:
            if len(self._buffer) >= _LONGEST_HEADERS:
                raise _malformed("the headers of a part do not end")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value for name, _, value in fields}
        self._go(end + 4, _State.CONTENT)
        return PartBegins(media_type(headers.get("content-type", ""))[0])

    def _read_content(self) -> Event | None:
        found = self._buffer.find(self._delimiter)
        if found == 0:
            self._go(len(self._delimiter), _State.DELIMITER)
            return PartEnds()
        # What may be the beginning of a delimiter waits for its rest.
        safe = found if found > 0 else len(self._buffer) - len(self._delimiter) + 1
        if safe <= 0:
            return None
        content = bytes(self._buffer[:safe])
        self._go(safe, _State.CONTENT)
        return PartBytes(content)

    def _go(self, consumed: int, state: _State) -> _State:
        del self._buffer[:consumed]
        self._state = state
        return state


def _malformed(why: str) -> BadStudy:
    return BadStudy(f"the body is not multipart: {why}", code="bad_multipart")
