"""Generated people: one base anatomy deformed into many persons, each scanned in many ways.

Only the planes that the encoder reads are sampled; no volume is warped. Every draw comes from
one seeded generator. `severity` 0…1 goes from mild to severe scans (Brain-ID, arXiv 2311.16914).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.anatomy import T1W_LEVELS, Anatomy
from deepbrainprint.encoder.network import standardise
from deepbrainprint.encoder.recipe import GRID_MM, PlaneRecipe
from deepbrainprint.encoder.splines import SplineGrid, refine, refinement

PERSON_MM = ((30, 2.0), (15, 1.2))  # control spacing and deviation of a person's own shape
SCAN_MM = 0.5  # deviation of what one scan adds: distortion and imperfect alignment
BIAS_MM = 60  # control spacing of the bias field
CUT_SHARE, CUT_DEPTH = 0.15, 0.3  # scans cut at one side, and how much of the plane at most
KNOTS = 6  # of an intensity curve
CHUNK = 12  # people drawn at a time, so that what is worked on stays in the cache
CENTRE = torch.tensor([90.5, 108.5, 90.5])  # of rotation and scaling, voxel index


@dataclass(frozen=True)
class Rules:
    """How far scans may vary at full severity."""

    shift_mm: float = 1.5
    turn_degrees: float = 1.5
    scale: float = 0.015
    thick_share: float = 0.45
    thickest_mm: float = 6.0
    bias: float = 0.25
    noise: float = 0.06


@dataclass(frozen=True)
class Draw:
    """Where the chance comes from and how far it goes.

    Every scan has a contrast of its own, unless `protocols` (scans, 256) gives the intensity
    curves that everyone's scans share.
    """

    generator: torch.Generator
    severity: float = 1.0  # the last part of training goes beyond 1
    protocols: Tensor | None = None

    @property
    def looseness(self) -> float:
        """How far scans lie apart, as a share of what they do at full severity."""
        return 1 / 3 + 2 / 3 * self.severity

    def tables(self, count: int) -> Tensor:
        """(count, 256) intensity curves of `count` scans, those of one person side by side."""
        if self.protocols is None:
            return curves(count, self.generator, self.severity)
        return self.protocols.repeat(count // len(self.protocols), 1)


class Scanner:
    """Draws batches of generated scans for one recipe's planes."""

    def __init__(self, recipe: PlaneRecipe, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        axes = [torch.tensor(recipe.planes, dtype=torch.float32)]
        for pixels, (start, _) in zip(recipe.pixels(), recipe.window, strict=True):
            axes.append(start + recipe.pixel_mm * (torch.arange(pixels) + 0.5) - 0.5)
        self._coarse, self._fine, self._bias = (
            SplineGrid((axes[0], axes[1], axes[2]), spacing=mm)
            for mm in (PERSON_MM[0][0], PERSON_MM[1][0], BIAS_MM)
        )
        self._refinement = refinement(self._coarse, self._fine)

    def scan(self, anatomies: list[Anatomy], *, scans: int, draw: Draw) -> Tensor:
        """One new person for each entry of `anatomies`, each scanned `scans` times.

        Entries of one anatomy are siblings and should stand together. Returns standardised
        planes (people, scans, P, X, Y).
        """
        found = [self._siblings(anatomy, n, scans, draw) for anatomy, n in siblings(anatomies)]
        return torch.cat(found)

    def _siblings(self, anatomy: Anatomy, people: int, scans: int, draw: Draw) -> Tensor:
        where = self._places(people, scans, draw)  # (people·scans, P, X, Y, 3)
        channels = _sample_thick(anatomy.channels, where, self.rules, draw)
        values, mask = _paint(anatomy, channels, draw)
        mask = _trim(mask, self._bias.draw(len(mask), draw.generator), draw)
        values = self._degrade(values, draw)
        planes = standardise(values * mask, mask)
        return planes.reshape(people, scans, *planes.shape[1:])

    def _places(self, people: int, scans: int, draw: Draw) -> Tensor:
        """Where in the base anatomy each pixel of each scan lies, voxel index x, y, z.

        Everything is put on the control points: B-splines reproduce affine maps exactly.
        """
        generator = draw.generator
        own = affines(people, generator, shift=2.0, turn=2.0, scale=0.03)
        pose = poses(people * scans, self.rules, draw)
        shape = PERSON_MM[0][1] * self._smooth(people, generator)
        shape = shape + PERSON_MM[1][1] * self._fine.noise(people, 3, generator)
        wobble = SCAN_MM * draw.looseness * self._smooth(people * scans, generator)
        person = torch.arange(people).repeat_interleave(scans)
        control = transform(transform(self._fine.positions, pose) + wobble, own[person])
        control = control + shape[person]
        mirrored = (torch.rand(people, generator=generator) < 0.5)[person, None, None, None]
        control[..., 0] = torch.where(mirrored, GRID_MM[0] - 1 - control[..., 0], control[..., 0])
        return self._fine.evaluate(control)

    def _smooth(self, count: int, generator: torch.Generator) -> Tensor:
        return refine(self._coarse.noise(count, 3, generator), self._refinement)

    def _degrade(self, values: Tensor, draw: Draw) -> Tensor:
        """In-plane blur, bias field and noise."""
        count, generator, severity = len(values), draw.generator, draw.severity
        blurred = nnf.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
        share = torch.rand(count, 1, 1, 1, generator=generator) * min(severity, 1.25) * 0.8
        values = values + share * (blurred - values)
        strength = torch.rand(count, 1, 1, 1, generator=generator) * self.rules.bias * severity
        values = values * (self._bias.draw(count, generator) * strength).exp()
        level = torch.rand(count, 1, 1, 1, generator=generator) * self.rules.noise * severity
        return (values + torch.randn(values.shape, generator=generator) * level).clamp(min=0)


def siblings(anatomies: list[Anatomy]) -> list[tuple[Anatomy, int]]:
    """Entries of one anatomy that stand together, at most `CHUNK` at a time, and how many."""
    runs: list[tuple[Anatomy, int]] = []
    for anatomy in anatomies:
        if runs and runs[-1][0] is anatomy and runs[-1][1] < CHUNK:
            runs[-1] = (anatomy, runs[-1][1] + 1)
        else:
            runs.append((anatomy, 1))
    return runs


class Loose(Protocol):
    """How far the alignment of two scans of a person may differ at full severity."""

    @property
    def shift_mm(self) -> float: ...  # noqa: D102
    @property
    def turn_degrees(self) -> float: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102


def poses(count: int, rules: Loose, draw: Draw) -> Tensor:
    """(count, 3, 4): how each scan lies for want of perfect alignment."""
    return affines(
        count,
        draw.generator,
        shift=rules.shift_mm * draw.looseness,
        turn=rules.turn_degrees * draw.looseness,
        scale=rules.scale * draw.looseness,
    )


def affines(
    count: int, generator: torch.Generator, *, shift: float, turn: float, scale: float
) -> Tensor:
    """(count, 3, 4) small affine maps: rotation and scaling about `CENTRE`, then a shift in mm."""
    draw = torch.rand(count, 9, generator=generator) * 2 - 1
    angles = draw[:, :3] * turn * torch.pi / 180
    skew = torch.zeros(count, 3, 3)
    skew[:, [2, 0, 1], [1, 2, 0]] = angles
    skew = skew - skew.transpose(1, 2)
    linear = torch.linalg.matrix_exp(skew) * (1 + draw[:, None, 3:6] * scale)
    return torch.cat([linear, draw[:, 6:9, None] * shift], dim=2)


def transform(place: Tensor, affine: Tensor) -> Tensor:
    """Points (…, K, I, J, 3) through one affine (B, 3, 4) each."""
    moved = torch.einsum("...kijc,...dc->...kijd", place - CENTRE, affine[:, :, :3])
    return moved + CENTRE + affine[:, None, None, None, :, 3]


def sample(channels: Tensor, place: Tensor) -> Tensor:
    """Trilinear: channels (C, z, x, y), place (B, P, X, Y, 3) → (C, B, P, X, Y)."""
    size = torch.tensor(GRID_MM, dtype=torch.float32)
    unit = (2 * place + 1) / size - 1
    grid = unit[..., [1, 0, 2]]  # grid_sample wants the last axis (y) first, then x, then z
    batch = channels.expand(len(place), *channels.shape)
    sampled = nnf.grid_sample(batch, grid, align_corners=False)
    return sampled.transpose(0, 1)


def _sample_thick(channels: Tensor, place: Tensor, rules: Rules, draw: Draw) -> Tensor:
    """Sampled planes, some the mean of two samples across a thick slice along a random axis."""
    count = len(place)
    draws = torch.rand(count, 2, generator=draw.generator)
    axis = nnf.one_hot(torch.randint(3, (count,), generator=draw.generator), 3)
    thick = torch.nonzero(draws[:, 0] < rules.thick_share * draw.severity)[:, 0]
    thickness = 1.5 + draws[thick, 1:] * (rules.thickest_mm - 1.5)
    offset = (axis[thick] * thickness / 4)[:, None, None, None, :]
    upper = place[thick] + offset
    place[thick] -= offset
    sampled = sample(channels, place)
    if len(thick):
        sampled[:, thick] = (sampled[:, thick] + sample(channels, upper)) / 2
    return sampled


def _paint(anatomy: Anatomy, channels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Intensity 0…1 and mask, each (B, P, X, Y), in the contrast of the protocols or any."""
    values, mask = _levelled(channels, draw) if anatomy.painted else channels
    mask = ((mask - 0.5) * 1.5 + 0.5).clamp(0, 1)
    values = (values / mask.clamp(min=0.2)).clamp(0, 1)
    level = (values.flatten(1) * 255).long()
    return draw.tables(len(values)).gather(1, level).reshape(values.shape), mask


def _levelled(shares: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Intensity and mask of tissue shares (C, B, P, X, Y): usual grey levels or random ones."""
    count, generator = shares.shape[1], draw.generator
    usual = torch.tensor(T1W_LEVELS)[:, None]
    drawn = torch.rand(len(usual), count, generator=generator)
    wild = 0.7 * draw.severity if draw.protocols is None else 0.0
    mild = torch.rand(1, count, generator=generator) > wild
    levels = torch.where(mild, usual + 0.1 * (drawn - 0.5), drawn)
    return (shares * levels[:, :, None, None, None]).sum(dim=0), shares.sum(dim=0).clamp(max=1)


def curves(count: int, generator: torch.Generator, severity: float) -> Tensor:
    """(count, 256) tables of random piecewise-linear intensity curves, 0…1.

    Rising, falling or mixed; at severity 0 all are the identity.
    """
    steps = torch.rand(count, KNOTS, generator=generator) ** 2 + 0.02
    rising = steps.cumsum(dim=1) / steps.sum(dim=1, keepdim=True)
    mixed = torch.rand(count, KNOTS, generator=generator)
    kind = torch.rand(count, 1, generator=generator)
    curve = torch.where(kind < 0.4, rising, torch.where(kind < 0.7, 1 - rising, mixed))
    identity = torch.linspace(0, 1, KNOTS).expand(count, KNOTS)
    share = (torch.rand(count, 1, generator=generator) * 0.6 + 0.4 + severity * 0.6).clamp(max=1)
    curve = identity + share * min(severity, 1.0) * (curve - identity)
    return nnf.interpolate(curve[:, None], 256, mode="linear", align_corners=True)[:, 0]


def _trim(mask: Tensor, noise: Tensor, draw: Draw) -> Tensor:
    """What another skull stripping and a shorter field of view leave of the mask."""
    count, planes = mask.shape[:2]
    severity, generator = draw.severity, draw.generator
    chance = torch.rand(count, 3, generator=generator)
    eroded = -nnf.max_pool2d(-mask, 3, stride=1, padding=1)
    rough = (chance[:, 0] < 0.5 * severity)[:, None, None, None] & (noise > 0.3)
    mask = torch.where(rough, eroded, mask)
    lost = torch.randint(1, 4, (count, 2), generator=generator)
    below = torch.where(chance[:, 1] < 0.25 * severity, lost[:, 0], 0)[:, None]
    above = torch.where(chance[:, 2] < 0.25 * severity, lost[:, 1], 0)[:, None]
    plane = torch.arange(planes)[None]
    kept = (plane >= below) & (plane < planes - above) if planes > 6 else plane >= 0
    return mask * kept[:, :, None, None] * _field_of_view(mask, draw)[:, None]


def _field_of_view(mask: Tensor, draw: Draw) -> Tensor:
    """(B, X, Y): 0 where a field of view off the head's centre cut off one side, else 1."""
    count, _, width, height = mask.shape
    side = torch.randint(4, (count,), generator=draw.generator)
    chance = torch.rand(count, 2, generator=draw.generator)
    depth = torch.where(chance[:, 0] < CUT_SHARE * draw.severity, chance[:, 1] * CUT_DEPTH, 0)
    x = torch.linspace(0, 1, width)[:, None].expand(width, height)
    y = torch.linspace(0, 1, height)[None, :].expand(width, height)
    from_side = torch.stack([x, 1 - x, y, 1 - y])[side]
    return (from_side >= depth[:, None, None]).float()
