"""Cast and plot of `deepbrainprint demo`: who is scanned, when it is sent, what is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from deepbrainprint.records import Contrast, Verdict, Volume
from deepbrainprint.simulation.acquisition import Orientation, Protocol
from deepbrainprint.simulation.heads import Conditions, person
from deepbrainprint.simulation.identities import identity_of
from deepbrainprint.simulation.phantoms import phantom
from deepbrainprint.simulation.scanner import Exam, acquire, uid, write
from deepbrainprint.simulation.truth import Truth

PEOPLE = 6
BOTTLE, SAME_ID, OTHER_ID, OTHER_CONTRAST = 7, 8, 9, 10  # study numbers
SENT_TWICE = 4
LATE_SLICES = 3  # the topmost, above the brain
CAST_SIZE = 1000  # casts of two seeds share nobody
AXIAL = Protocol(voxel_mm=(1.2, 1.2, 1.4))
SAGITTAL = Protocol(orientation=Orientation.SAGITTAL, voxel_mm=(1.2, 1.2, 1.4))
T2W = Protocol(Contrast.T2W, voxel_mm=(1.2, 1.2, 1.4))


class Part(StrEnum):
    """Which files of a study go out."""

    ALL = "all"
    ON_TIME = "on_time"
    LATE = "late"


@dataclass(frozen=True)
class Send:
    """Send these files of study `number`."""

    number: int
    part: Part = Part.ALL


@dataclass(frozen=True)
class Wait:
    """Wait until this revision of study `number` is decided or has ended otherwise."""

    number: int
    revision: int = 1


Step = Send | Wait


@dataclass(frozen=True)
class DemoStudy:
    """One study of the demo; nothing is computed before `write`."""

    number: int
    title: str
    truth: Truth
    seed: int
    protocol: Protocol = AXIAL
    visit: int = 1
    other_id: bool = False

    @property
    def study_uid(self) -> str:
        """The study instance UID that the objects carry."""
        return uid(self._key, "study")

    def write(self, folder: Path) -> list[Path]:
        """Write the DICOM files; the paths in slice order, the topmost last in axial scans."""
        number = self.truth.person or self.number
        identity = identity_of(number, visit=self.visit, other_id=self.other_id)
        return write(acquire(self._volume(), Exam(self._key, identity, self.protocol)), folder)

    @property
    def _key(self) -> str:
        return f"demo-{self.seed}-{self.number}"

    def _volume(self) -> Volume:
        if self.truth.person is None:
            return phantom(self.seed, self.protocol)
        head = person(self.seed * CAST_SIZE + self.truth.person)
        aged = Conditions(ageing_years=1.5 * (self.visit - 1))
        return head.scan(self.protocol, seed=self.visit, conditions=aged)


@dataclass(frozen=True)
class Scenario:
    """Studies numbered from one, and the steps to take in order."""

    studies: tuple[DemoStudy, ...]
    steps: tuple[Step, ...]

    def study(self, number: int) -> DemoStudy:
        """The study with this number."""
        return self.studies[number - 1]


def demo_scenario(seed: int = 0) -> Scenario:
    """Six people and a bottle in ten studies; the same seed is always the same cast."""
    firsts = [_first_visit(seed, number) for number in range(1, PEOPLE + 1)]
    bottle = DemoStudy(BOTTLE, "quality phantom called MPRAGE", Truth(None), seed)
    return Scenario((*firsts, bottle, *_second_visits(seed)), _plot())


def files_of(files: Sequence[Path], part: Part) -> Sequence[Path]:
    """The files of a study that belong to this part."""
    match part:
        case Part.ALL:
            return files
        case Part.ON_TIME:
            return files[:-LATE_SLICES]
        case Part.LATE:
            return files[-LATE_SLICES:]
        case _:
            assert_never(part)


def _plot() -> tuple[Step, ...]:
    """Second visits go out when every first visit is decided."""
    opening = range(1, BOTTLE + 1)
    return (
        *(Send(number) for number in opening),
        *(Wait(number) for number in opening),
        Send(SENT_TWICE),
        Send(SAME_ID, Part.ON_TIME),
        Send(OTHER_ID),
        Send(OTHER_CONTRAST),
        *(Wait(number) for number in (SAME_ID, OTHER_ID, OTHER_CONTRAST)),
        Send(SAME_ID, Part.LATE),
        Wait(SAME_ID, revision=2),
    )


def _first_visit(seed: int, number: int) -> DemoStudy:
    title = "first visit, sent twice" if number == SENT_TWICE else "first visit"
    return DemoStudy(number, title, Truth(number, frozenset({Verdict.NEW_PATIENT})), seed)


def _second_visits(seed: int) -> tuple[DemoStudy, ...]:
    """Persons 1, 2 and 3 come back; who comes in another contrast may end in review."""
    linked = frozenset({Verdict.LINKED})
    late = Truth(1, linked, same_as=1, revision=2)
    renamed = Truth(2, linked, same_as=2)
    seen_anew = Truth(3, linked | {Verdict.REVIEW}, same_as=3)
    return (
        DemoStudy(SAME_ID, "second visit, last images late", late, seed, visit=2),
        DemoStudy(
            OTHER_ID, "second visit under another id", renamed, seed, SAGITTAL, 2, other_id=True
        ),
        DemoStudy(OTHER_CONTRAST, "second visit in T2w", seen_anew, seed, T2W, visit=2),
    )
