"""Which instances of a series make its one structural volume."""

from __future__ import annotations

from collections.abc import Sequence

from deepbrainprint.imaging.contrast import NOT_MAGNITUDE
from deepbrainprint.imaging.headers import ImageHeader


def of_one_volume(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    """The magnitude images of one echo; everything where that is no question."""
    return _one_echo(_magnitude(headers))


def _magnitude(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    return [header for header in headers if not header.kinds & NOT_MAGNITUDE] or headers


def _one_echo(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    """Of several echoes of spin echoes the last, of gradient echoes the first."""
    echoes = sorted({h.pulse.echo_ms for h in headers if h.pulse.echo_ms is not None})
    if len(echoes) < 2 or "EP" in headers[0].pulse.scanning:
        return headers
    wanted = echoes[0] if "GR" in headers[0].pulse.scanning else echoes[-1]
    chosen = [header for header in headers if header.pulse.echo_ms == wanted]
    # an echo time that merely wanders from slice to slice marks no second image
    return chosen if len(chosen) * len(echoes) == len(headers) and len(chosen) > 1 else headers
