"""Which images of a series make its one structural volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deepbrainprint.imaging.contrast import NOT_MAGNITUDE
from deepbrainprint.imaging.geometry import Frame, frames_of, parallel, places
from deepbrainprint.imaging.headers import ImageHeader, Plane

MOST = 0.9  # of the places: an echo that was taken at fewer is no image of its own
TILED = frozenset({"MOSAIC", "VFRAME"})  # Siemens' and UIH's: one object is a volume

Spot = tuple[float, ...]  # where a frame lies: position (3) and orientation (6), rounded


def of_one_volume(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    """The magnitude images of one echo; everything where that is no question."""
    return _one_echo(_magnitude(headers))


def is_tiled(headers: Iterable[ImageHeader]) -> bool:
    """Whether each object holds the slices of a volume side by side in one image."""
    return any(TILED & header.kinds for header in headers)


def stacks_of(headers: Sequence[ImageHeader]) -> list[list[Frame]]:
    """Sets of parallel magnitude frames of one echo and one matrix, that of most places first.

    None when an object does not say of each of its frames where it lies.
    """
    if not headers or any(len(header.planes) != header.frames for header in headers):
        return []
    frames = _one_echo_of_frames(_magnitude_frames(frames_of(headers)))
    by_matrix: dict[object, list[Frame]] = {}
    for frame in frames:
        by_matrix.setdefault((frame.header.matrix, frame.header.spacing_mm), []).append(frame)
    stacks = [stack for alike in by_matrix.values() for stack in parallel(alike)]
    return sorted(stacks, key=lambda stack: -len(places(stack)))


def one_moment(stack: Sequence[Frame]) -> list[Frame]:
    """One frame at each place of a stack, from one end to the other.

    Frames are taken in the order of their numbers up to the first that repeats a place; the first
    such run that is complete is one time point. Where none is, the first frame at each place.
    """
    layers = places(stack)
    place_of = {id(frame): number for number, layer in enumerate(layers) for frame in layer}
    run: dict[int, Frame] = {}
    for frame in sorted(stack, key=lambda frame: (frame.header.instance_number, frame.index)):
        place = place_of[id(frame)]
        run = {place: frame} if place in run else {**run, place: frame}
        if len(run) == len(layers):
            return [run[number] for number in range(len(layers))]
    return [layer[0] for layer in layers]


def _magnitude(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    return [header for header in headers if not header.kinds & NOT_MAGNITUDE] or headers


def _magnitude_frames(frames: Sequence[Frame]) -> Sequence[Frame]:
    return [frame for frame in frames if not frame.plane.kinds & NOT_MAGNITUDE] or frames


def _one_echo(headers: Sequence[ImageHeader]) -> Sequence[ImageHeader]:
    times = [header.pulse.echo_ms for header in headers]
    wanted = _wanted_echo(headers[:1], times, [_spots(header.planes) for header in headers])
    return [h for h in headers if wanted is None or h.pulse.echo_ms == wanted]


def _one_echo_of_frames(frames: Sequence[Frame]) -> Sequence[Frame]:
    headers, times = [f.header for f in frames[:1]], [f.plane.echo_ms for f in frames]
    wanted = _wanted_echo(headers, times, [_spots([frame.plane]) for frame in frames])
    return [f for f in frames if wanted is None or f.plane.echo_ms == wanted]


def _wanted_echo(
    headers: Sequence[ImageHeader], times: Sequence[float | None], spots: Sequence[frozenset[Spot]]
) -> float | None:
    """Of several echoes of spin echoes the last, of gradient echoes the first.

    None where there is one echo, or where its time merely wanders from place to place.
    """
    covered: dict[float, set[Spot]] = {}
    for time, places_of_one in zip(times, spots, strict=True):
        if time is not None:
            covered.setdefault(time, set()).update(places_of_one)
    every = set[Spot]().union(*covered.values())
    whole = sorted(time for time, seen in covered.items() if len(seen) > MOST * len(every))
    if len(covered) < 2 or not whole or "EP" in headers[0].pulse.scanning:
        return None
    return whole[0] if "GR" in headers[0].pulse.scanning else whole[-1]


def _spots(planes: Sequence[Plane]) -> frozenset[Spot]:
    return frozenset(
        tuple(round(x, 1) for x in (*plane.position, *plane.orientation)) for plane in planes
    )
