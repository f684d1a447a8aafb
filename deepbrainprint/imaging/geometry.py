"""Where the frames of a series lie: how many slices, how far apart, what they cover, what is gone.

Positions and directions are DICOM's (LPS, mm), PS3.3 section C.7.6.2.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepbrainprint.imaging.headers import ImageHeader, Plane

PARALLEL = 0.01  # two planes are parallel when no direction cosine differs by more
SAME_PLACE_MM = 0.02
IRREGULAR = 0.25  # of the usual step: more is no rounding

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """Two neighbouring slices that are too far apart, by instance (or frame) number."""

    before: int
    after: int
    factor: float  # distance in usual steps


@dataclass(frozen=True)
class Geometry:
    """The largest set of parallel slices of a series."""

    slices: int
    volumes: float  # frames per slice position
    orientations: int
    step_mm: float
    spacing_mm: tuple[float, float]
    extent_mm: tuple[float, float, float]  # down the columns, along the rows, across the slices
    gaps: tuple[Gap, ...]
    corner: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres; 0 when the header does not say."""
        return self.step_mm * self.spacing_mm[0] * self.spacing_mm[1] / 1000

    @property
    def known(self) -> bool:
        """Whether the header says where the slices are."""
        return self.slices > 0 and min(self.spacing_mm) > 0


NOWHERE = Geometry(0, 0.0, 0, 0.0, (0.0, 0.0), (0.0, 0.0, 0.0), (), (), ())


def measure(headers: Sequence[ImageHeader]) -> Geometry:
    """Geometry of the frames of `headers`; `known` is false when they say nothing of it."""
    frames = [(plane, number) for h in headers for plane, number in _numbered(h)]
    if not frames:
        return NOWHERE
    stacks = _parallel(frames)
    largest = max(stacks, key=len)
    first = headers[0]
    return _measure(largest, first, orientations=len(stacks))


def _numbered(header: ImageHeader) -> list[tuple[Plane, int]]:
    """Each frame with its number: the instance's, or its own in a multi-frame object."""
    if len(header.planes) == 1:
        return [(header.planes[0], header.instance_number)]
    return [(plane, number) for number, plane in enumerate(header.planes, start=1)]


def _parallel(frames: Sequence[tuple[Plane, int]]) -> list[list[tuple[Plane, int]]]:
    """`frames` sorted into sets of parallel planes."""
    stacks: list[list[tuple[Plane, int]]] = []
    for frame in frames:
        for stack in stacks:
            if _is_parallel(frame[0], stack[0][0]):
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return stacks


def _is_parallel(a: Plane, b: Plane) -> bool:
    return all(abs(x - y) <= PARALLEL for x, y in zip(a.orientation, b.orientation, strict=True))


def _measure(
    frames: Sequence[tuple[Plane, int]], first: ImageHeader, *, orientations: int
) -> Geometry:
    heights, numbers, repeats = _heights(frames)
    steps = np.diff(heights)
    step = float(np.median(steps)) if steps.size else first.thickness_mm
    down = first.matrix[0] * first.spacing_mm[0]
    along = first.matrix[1] * first.spacing_mm[1]
    return Geometry(
        slices=len(heights),
        volumes=repeats,
        orientations=orientations,
        step_mm=step,
        spacing_mm=first.spacing_mm,
        extent_mm=(down, along, len(heights) * step),
        gaps=_gaps(steps, numbers, step),
        corner=tuple(round(x, 1) for x in min(plane.position for plane, _ in frames)),
        direction=tuple(round(x, 2) for x in frames[0][0].orientation),
    )


def _heights(frames: Sequence[tuple[Plane, int]]) -> tuple[Numbers, list[int], float]:
    """Distinct places along the normal in order, the number of a frame at each, frames at each."""
    orientation = np.array(frames[0][0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    along = sorted((float(normal @ np.array(plane.position)), n) for plane, n in frames)
    places: list[tuple[float, int]] = []
    counts: Counter[int] = Counter()
    for height, number in along:
        if not places or height - places[-1][0] > SAME_PLACE_MM:
            places.append((height, number))
        counts[len(places)] += 1
    usual = float(np.median(list(counts.values())))
    return np.array([height for height, _ in places]), [number for _, number in places], usual


def _gaps(steps: Numbers, numbers: Sequence[int], step: float) -> tuple[Gap, ...]:
    if steps.size < 2 or step <= 0:
        return ()
    wide = np.flatnonzero(steps > step * (1 + IRREGULAR)).tolist()
    return tuple(Gap(numbers[i], numbers[i + 1], float(steps[i] / step)) for i in wide)
