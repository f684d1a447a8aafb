"""Where the frames of a series lie: how many slices, how far apart, what they cover, what is gone.

Positions and directions are DICOM's (LPS, mm), PS3.3 section C.7.6.2.1.
"""

from __future__ import annotations

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
class Frame:
    """One image of a series: its object, its number there from 0, and where it lies."""

    header: ImageHeader
    index: int
    plane: Plane

    @property
    def number(self) -> int:
        """The instance's number, or its own from 1 in a multi-frame object."""
        return self.header.instance_number if self.header.frames == 1 else self.index + 1


@dataclass(frozen=True)
class Gap:
    """Two neighbouring slices that are too far apart or too close, by instance (frame) number."""

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
    frames = frames_of(headers)
    if not frames:
        return NOWHERE
    stacks = parallel(frames)
    return measure_stack(max(stacks, key=len), orientations=len(stacks))


def frames_of(headers: Sequence[ImageHeader]) -> list[Frame]:
    """Every frame of which the header says where it lies."""
    return [Frame(h, index, plane) for h in headers for index, plane in enumerate(h.planes)]


def parallel(frames: Sequence[Frame]) -> list[list[Frame]]:
    """`frames` sorted into sets of parallel planes."""
    stacks: list[list[Frame]] = []
    for frame in frames:
        for stack in stacks:
            if _is_parallel(frame.plane, stack[0].plane):
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return stacks


def places(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Parallel `frames` by where they lie along the normal, in order; several may share a place."""
    across, found = normal(frames[0].plane), list[list[Frame]]()
    last = -np.inf
    for frame in sorted(frames, key=lambda frame: (height(frame, across), frame.number)):
        if height(frame, across) - last > SAME_PLACE_MM:
            found.append([])
            last = height(frame, across)
        found[-1].append(frame)
    return found


def height(frame: Frame, across: Numbers) -> float:
    """Distance of a frame from the origin along `across`, mm."""
    return float(across @ np.array(frame.plane.position))


def normal(plane: Plane) -> Numbers:
    """Unit vector (3,) across a plane, LPS."""
    orientation = np.array(plane.orientation)
    return np.cross(orientation[:3], orientation[3:])


def _is_parallel(a: Plane, b: Plane) -> bool:
    return all(abs(x - y) <= PARALLEL for x, y in zip(a.orientation, b.orientation, strict=True))


def measure_stack(frames: Sequence[Frame], *, orientations: int = 1) -> Geometry:
    """Geometry of parallel `frames`."""
    stack, first = places(frames), frames[0].header
    across = normal(frames[0].plane)
    heights = np.array([height(place[0], across) for place in stack])
    steps = np.diff(heights)
    step = float(np.median(steps)) if steps.size else first.thickness_mm
    down = first.matrix[0] * first.spacing_mm[0]
    along = first.matrix[1] * first.spacing_mm[1]
    return Geometry(
        slices=len(stack),
        volumes=float(np.median([len(place) for place in stack])),
        orientations=orientations,
        step_mm=step,
        spacing_mm=first.spacing_mm,
        extent_mm=(down, along, len(stack) * step),
        gaps=_gaps(steps, [place[0].number for place in stack], step),
        corner=tuple(round(x, 1) for x in min(frame.plane.position for frame in frames)),
        direction=tuple(round(x, 2) for x in frames[0].plane.orientation),
    )


def _gaps(steps: Numbers, numbers: Sequence[int], step: float) -> tuple[Gap, ...]:
    if steps.size < 2 or step <= 0:
        return ()
    uneven = np.flatnonzero(np.abs(steps / step - 1) > IRREGULAR).tolist()
    return tuple(Gap(numbers[i], numbers[i + 1], float(steps[i] / step)) for i in uneven)
