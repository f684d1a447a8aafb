from __future__ import annotations

from hypothesis import given, settings, strategies

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.dicomweb.multipart import (
    MultipartReader,
    PartBegins,
    PartBytes,
    PartEnds,
)


def code_of(content: bytes, sizes: list[int]) -> str:
    try:
        parts_of(content, sizes)
    except BadStudy as error:
        return error.code
    return ""


def parts_of(content: bytes, sizes: list[int]) -> list[bytes]:
    reader, parts, position = MultipartReader("b"), [], 0
    for size in [*sizes, len(content)]:
        for event in reader.feed(content[position : position + size]):
            match event:
                case PartBegins():
                    parts.append(b"")
                case PartBytes(piece):
                    parts[-1] += piece
                case PartEnds():
                    pass
        position += size
    reader.finish()
    return parts


TRICKY = strategies.lists(
    strategies.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n", b"\r\n-", b"x", b"\0"]),
    max_size=12,
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(
    contents=strategies.lists(TRICKY, min_size=1, max_size=4),
    sizes=strategies.lists(strategies.integers(0, 9), max_size=40),
    preamble=strategies.sampled_from([b"", b"hello\r\n"]),
)
def test_parts_come_out_as_they_went_in_whatever_the_pieces(contents, sizes, preamble):
    lines = b"".join(b"--b\r\nA: b\r\n\r\n" + content + b"\r\n" for content in contents)
    assert parts_of(preamble + lines + b"--b--\r\nepilogue", sizes) == contents


@settings(max_examples=500, deadline=None)
@given(content=strategies.binary(max_size=200), sizes=strategies.lists(strategies.integers(0, 9)))
def test_a_body_of_any_bytes_is_read_or_refused(content, sizes):
    assert code_of(b"--b" + content, sizes) in {"", "bad_multipart", "body_cut_off"}
