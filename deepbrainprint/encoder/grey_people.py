"""Generated people as their tissues: born of a base anatomy, aged, and segmented with errors.

A person is a base anatomy deformed by smooth fields, as in `synthesis`, and grown older: the walls
of the ventricles move outwards and the outer side of the cortex turns into fluid. What a scan shows
of a person is the share of grey matter as some segmentation of some contrast would give it. Every
draw comes from one seeded generator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.grey_scan import Chance, ScanRules, segmented
from deepbrainprint.encoder.recipe import GRID_MM, box_cubes
from deepbrainprint.encoder.splines import SplineGrid, refine, refinement
from deepbrainprint.encoder.synthesis import (
    BIAS_MM,
    PERSON_MM,
    SCAN_MM,
    Draw,
    affines,
    poses,
    sample,
    siblings,
    transform,
)
from deepbrainprint.encoder.tissue_base import EXPOSED, FLUID, GREY, TissueBase, tissue_base

AGES = (18.0, 90.0)  # years
# What the years between do, and the deviation among people of one age. Chosen, not fitted.
WALLS_MM, WALLS_POWER, WALLS_SPREAD_MM = 4.0, 1.6, 0.6  # how far ventricles widen to each side
THINNING, THINNING_SPREAD = 0.5, 0.06  # of the outer side of the cortex


@dataclass(frozen=True)
class People:
    """N people of one base anatomy.

    own: (N, 3, 4) size and pose; shape: (N, K, I, J, 3) mm on control points; mirrored: (N,);
    ages: (N,) years; walls: (N,) mm by which ventricles are wider; thinning: (N,) 0…1 of the outer
    side of the cortex.
    """

    base: TissueBase
    own: Tensor
    shape: Tensor
    mirrored: Tensor
    ages: Tensor
    walls: Tensor
    thinning: Tensor

    def at(self, ages: Tensor) -> People:
        """The same people at other ages, (N,) years; how each differs from their peers stays."""
        return replace(
            self,
            ages=ages,
            walls=self.walls + _widened(ages) - _widened(self.ages),
            thinning=self.thinning + _thinned(ages) - _thinned(self.ages),
        )


def _widened(ages: Tensor) -> Tensor:
    return WALLS_MM * _share_of_life(ages) ** WALLS_POWER


def _thinned(ages: Tensor) -> Tensor:
    return THINNING * _share_of_life(ages)


def _share_of_life(ages: Tensor) -> Tensor:
    return ((ages - AGES[0]) / (AGES[1] - AGES[0])).clamp(0, 1)


class GreyScanner:
    """Draws people and their grey-matter maps on cubes of `step_mm` in `BOX`, (Z, X, Y)."""

    def __init__(self, step_mm: float, rules: ScanRules | None = None) -> None:
        self.rules = rules or ScanRules()
        x, y, z = (
            step_mm * (torch.arange(first, last) + 0.5) - 0.5 for first, last in box_cubes(step_mm)
        )
        self._coarse, self._fine, self._shading = (
            SplineGrid((z, x, y), spacing=mm) for mm in (PERSON_MM[0][0], PERSON_MM[1][0], BIAS_MM)
        )
        self._refinement = refinement(self._coarse, self._fine)
        self._bases: dict[str, TissueBase] = {}

    def people(self, anatomies: list[Anatomy], generator: torch.Generator) -> list[People]:
        """One new person for each entry of `anatomies`; neighbours of one anatomy together."""
        return [self._born(anatomy, n, generator) for anatomy, n in siblings(anatomies)]

    def _born(self, anatomy: Anatomy, count: int, generator: torch.Generator) -> People:
        shape = PERSON_MM[0][1] * self._smooth(count, generator)
        ages = AGES[0] + (AGES[1] - AGES[0]) * torch.rand(count, generator=generator)
        peers = torch.randn(2, count, generator=generator)
        return People(
            base=self._base(anatomy),
            own=affines(count, generator, shift=2.0, turn=2.0, scale=0.03),
            shape=shape + PERSON_MM[1][1] * self._fine.noise(count, 3, generator),
            mirrored=torch.rand(count, generator=generator) < 0.5,
            ages=ages,
            walls=_widened(ages) + WALLS_SPREAD_MM * peers[0],
            thinning=_thinned(ages) + THINNING_SPREAD * peers[1],
        )

    def _base(self, anatomy: Anatomy) -> TissueBase:
        if anatomy.name not in self._bases:
            self._bases[anatomy.name] = tissue_base(anatomy)
        return self._bases[anatomy.name]

    def shares(self, people: People) -> Tensor:
        """What is really there, (N, 3, Z, X, Y): shares of grey, white and fluid."""
        return self._tissues(people, self._fine.positions)[:3].transpose(0, 1)

    def scan(self, people: People, *, scans: int, draw: Draw) -> Tensor:
        """Grey-matter maps (N, scans, Z, X, Y), 0…1, of `scans` scans of each person."""
        person = torch.arange(len(people.ages)).repeat_interleave(scans)
        tissues = self._tissues(_repeated(people, person), self._laid(len(person), draw))
        chance = Chance(draw.generator, draw.severity, len(person))
        grey = segmented(tissues[GREY], tissues[EXPOSED], self._shading, self.rules, chance)
        return grey.reshape(-1, scans, *grey.shape[1:])

    def _laid(self, count: int, draw: Draw) -> Tensor:
        """Where the control points of each scan lie for want of perfect alignment."""
        pose = poses(count, self.rules, draw)
        wobble = SCAN_MM * draw.looseness * self._smooth(count, draw.generator)
        return transform(self._fine.positions, pose) + wobble

    def _tissues(self, people: People, laid: Tensor) -> Tensor:
        """(4, N, Z, X, Y) channels as `TissueBase.maps`, at the age of each."""
        control = transform(laid, people.own) + people.shape
        mirrored = people.mirrored[:, None, None, None]
        control[..., 0] = torch.where(mirrored, GRID_MM[0] - 1 - control[..., 0], control[..., 0])
        place = self._fine.evaluate(control)  # (N, Z, X, Y, 3)
        towards = sample(people.base.pull.float(), place).movedim(0, -1)
        place = place + people.walls[:, None, None, None, None] * towards
        tissues = sample(people.base.maps.float(), place)
        lost = people.thinning[:, None, None, None].clamp(-0.2, 1) * tissues[EXPOSED]
        tissues[GREY] -= lost
        tissues[EXPOSED] -= lost
        tissues[FLUID] += lost
        return tissues

    def _smooth(self, count: int, generator: torch.Generator) -> Tensor:
        return refine(self._coarse.noise(count, 3, generator), self._refinement)


def _repeated(people: People, person: Tensor) -> People:
    """Each person as often as `person` names them."""
    names = ("own", "shape", "mirrored", "ages", "walls", "thinning")
    return replace(people, **{name: getattr(people, name)[person] for name in names})
