"""What the grey-matter map of one scan gets wrong.

Segmentations of two scans of a person differ with contrast, resolution, noise and shading: deep
grey matter passes for white in a T1-weighted scan, the outer cortex for fluid where slices are
thick, borders move, and a field of view may end early.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.splines import SplineGrid


@dataclass(frozen=True)
class ScanRules:
    """How far the maps of one person's scans may vary at full severity."""

    shift_mm: float = 1.5
    turn_degrees: float = 1.5
    scale: float = 0.015
    inner_loss: float = 0.4  # of the grey away from the brain's surface, taken for white
    outer_loss: float = 0.3  # of the outer side of the cortex, taken for fluid
    blur: float = 0.4  # share of the mean with both neighbours, along each axis
    border: float = 0.3  # deviation of the logarithm of how steep borders are
    shading: float = 0.15  # deviation of the logarithm of a smooth gain
    noise: float = 0.06  # deviation where it is least certain what is grey
    cut_share: float = 0.25  # of scans that end early below, and as many above
    cut: float = 0.1  # share of the planes by which at most


@dataclass(frozen=True)
class Chance:
    """Where one batch's errors come from: draws for `count` maps at a severity of 0…1 and more."""

    generator: torch.Generator
    severity: float
    count: int

    def uniform(self, most: float) -> Tensor:
        """(count, 1, 1, 1) between 0 and `most` at full severity."""
        drawn = torch.rand(self.count, 1, 1, 1, generator=self.generator)
        return drawn * most * self.severity

    def normal(self, deviation: float) -> Tensor:
        """(count, 1, 1, 1) about 0."""
        drawn = torch.randn(self.count, 1, 1, 1, generator=self.generator)
        return drawn * deviation * self.severity


def segmented(
    grey: Tensor, exposed: Tensor, shading: SplineGrid, rules: ScanRules, chance: Chance
) -> Tensor:
    """Grey-matter maps as a segmentation might give them.

    grey, exposed: (B, Z, X, Y) shares 0…1, `exposed` the part of the grey on the outer side of the
    cortex. Returns (B, Z, X, Y) in 0…1.
    """
    inner = (grey - exposed).clamp(min=0)
    grey = grey - chance.uniform(rules.inner_loss) * inner
    grey = (grey - chance.uniform(rules.outer_loss) * exposed).clamp(0, 1)
    grey = _blurred(grey, rules, chance).clamp(0, 1)  # rounding may have left these ends
    grey = _bordered(grey, chance.normal(rules.border).exp())
    field = shading.draw(chance.count, chance.generator)
    grey = (grey * (chance.uniform(rules.shading) * field).exp()).clamp(0, 1)
    doubt = 4 * grey * (1 - grey)
    noise = torch.randn(grey.shape, generator=chance.generator)
    grey = grey + chance.uniform(rules.noise) * noise * doubt
    return grey.clamp(0, 1) * _seen(grey.shape[1], rules, chance)


def _blurred(grey: Tensor, rules: ScanRules, chance: Chance) -> Tensor:
    """Each map blurred along each axis by an amount of its own."""
    for kernel in ((3, 1, 1), (1, 3, 1), (1, 1, 3)):
        margin = tuple(k // 2 for k in kernel)
        mean = nnf.avg_pool3d(grey, kernel, stride=1, padding=margin)
        grey = torch.lerp(grey, mean, chance.uniform(rules.blur).clamp(max=1))
    return grey


def _bordered(grey: Tensor, steepness: Tensor) -> Tensor:
    """g^s / (g^s + (1 − g)^s): borders steeper for s above 1, softer below."""
    inside, outside = grey**steepness, (1 - grey) ** steepness
    return inside / (inside + outside)


def _seen(planes: int, rules: ScanRules, chance: Chance) -> Tensor:
    """(B, planes, 1, 1): 0 where the field of view has ended, else 1."""
    drawn = torch.rand(chance.count, 2, 2, generator=chance.generator)
    is_cut = drawn[..., 0] < rules.cut_share * chance.severity
    lost = torch.where(is_cut, drawn[..., 1] * rules.cut * planes, 0)[..., None]
    plane = torch.arange(planes)[None]
    kept = (plane >= lost[:, 0]) & (planes - 1 - plane >= lost[:, 1])
    return kept[:, :, None, None].float()
