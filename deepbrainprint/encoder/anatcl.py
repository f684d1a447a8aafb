"""AnatCL: a 3D ResNet-18 learns which brains are alike in anatomy and age (arXiv 2408.07079).

Barbano et al. 2024 learn from grey-matter maps of people whose cortical measures and age are known.
Here people are generated, so both are known of each, and every person is scanned twice. The loss is
λ·L(age) + (1 − λ)·L(anatomy), each weakly contrastive (`weak_contrast`) with a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder import weak_contrast
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress
from deepbrainprint.encoder.descriptors import Norms, describe, region_map, squared_distances
from deepbrainprint.encoder.grey_people import GreyScanner
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.recipe import AnatClRecipe, box_cubes
from deepbrainprint.encoder.resnet3d import AnatClBackbone, Head, load_authors
from deepbrainprint.encoder.retrieval import pair_accuracy
from deepbrainprint.encoder.synthesis import Draw
from deepbrainprint.encoder.training import hardness
from deepbrainprint.records import FINGERPRINT_LENGTH, FloatArray

AT_ONCE = 16
CHECK_PEOPLE = 64
NORM_PEOPLE = 96  # from whom it is learned what is usual


@dataclass(frozen=True)
class Batch:
    """What one step learns from: B people.

    views: (2, B, Z, X, Y) grey-matter maps, 0…1; anatomy and age: (B, B) how alike they are.
    """

    views: Tensor
    anatomy: Tensor
    age: Tensor
    severity: float


@dataclass(frozen=True)
class Crowd:
    """B drawn people, two scans each: scans (B, 2, Z, X, Y), ages (B,), descriptors (B, R, 3)."""

    scans: Tensor
    ages: Tensor
    descriptors: Tensor


class AnatClLearner(nn.Module):
    """What is trained: the encoder and, for training only, the head."""

    def __init__(self, encoder: EncoderNetwork) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(FINGERPRINT_LENGTH)


class AnatClObjective:
    """The weakly contrastive loss on generated people."""

    def __init__(
        self,
        recipe: AnatClRecipe,
        anatomies: Sequence[Anatomy],
        held_out: Sequence[Anatomy],
    ) -> None:
        """Learn what is usual at once."""
        torch.manual_seed(recipe.seed)
        network = EncoderNetwork(recipe)
        self.learner = AnatClLearner(network)
        network.backbone.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._recipe = recipe
        self._anatomies = anatomies
        self._scanner = GreyScanner(recipe.step_mm)
        self._regions = region_map(box_cubes(recipe.step_mm), recipe.step_mm)
        generator = torch.Generator().manual_seed(recipe.seed)
        self._norms = Norms.of(self._population(NORM_PEOPLE, generator))
        self._check = self._crowd(spread(held_out, CHECK_PEOPLE), Draw(generator))

    @property
    def network(self) -> EncoderNetwork:
        """The encoder."""
        return self.learner.encoder

    def draw(self, at: Progress, elapsed: float) -> Batch:
        """The batch of one step; its seed is the recipe's with the number of the step."""
        recipe = self._recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + at.step)
        draw = Draw(generator, hardness(elapsed, recipe))
        order = torch.randperm(len(self._anatomies), generator=generator).tolist()
        chosen = [
            self._anatomies[order[person // recipe.siblings % len(order)]]
            for person in range(recipe.people)
        ]
        crowd = self._crowd(chosen, draw)
        anatomy, age = self._alike(crowd)
        return Batch(crowd.scans.transpose(0, 1), anatomy, age, draw.severity)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch and its figures."""
        recipe = self._recipe
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.backbone(batch.views.flatten(0, 1))  # first scans, then second
        features = features.float()
        vectors = self.learner.head(features)
        anatomy, age = (self._weak(vectors, alike) for alike in (batch.anatomy, batch.age))
        loss = recipe.age_share * age + (1 - recipe.age_share) * anatomy
        return loss, {
            "loss": loss.item(),
            "anatomy_loss": anatomy.item(),
            "age_loss": age.item(),
            "pair_accuracy": pair_accuracy(*np.split(_centred(features.detach()), 2)),
            "severity": batch.severity,
        }

    def _weak(self, vectors: Tensor, alike: Tensor) -> Tensor:
        recipe = self._recipe
        return weak_contrast.weak_contrast(
            vectors, alike.repeat(2, 2), kind=recipe.weak_loss, temperature=recipe.temperature
        )

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Figures of held-out people at full severity.

        Pair accuracy; the loss; and how the distance between people correlates with the difference
        of their ages and with how unlike their anatomies are.
        """
        self.learner.eval()
        scans = self._check.scans.transpose(0, 1).flatten(0, 1)  # first scans, then second
        features = torch.cat([self.network.backbone(some) for some in torch.split(scans, AT_ONCE)])
        anatomy, age = self._alike(self._check)
        vectors = self.learner.head(features)
        losses = [float(self._weak(vectors, alike)) for alike in (anatomy, age)]
        share = self._recipe.age_share
        first, second = np.split(_centred(features), 2)
        apart = 1 - torch.from_numpy(first @ first.T)
        years = (self._check.ages[:, None] - self._check.ages[None]).abs()
        return {
            "held_out_accuracy": pair_accuracy(first, second),
            "held_out_loss": share * losses[1] + (1 - share) * losses[0],
            "held_out_age_correlation": correlation(apart, years),
            "held_out_anatomy_correlation": correlation(apart, 1 - anatomy),
        }

    def results(self) -> dict[str, float]:
        """How distances follow age and anatomy, and the loss, on held-out people."""
        return self.check()

    def adopt(self, weights: Path) -> None:
        """Put the authors' released weights in; Misconfigured when they do not fit."""
        cast("AnatClBackbone", self.network.backbone).encoder = load_authors(weights)

    def scan(self, anatomies: list[Anatomy], *, scans: int, draw: Draw) -> Tensor:
        """Grey-matter maps (people, scans, Z, X, Y) of new people, as the backbone reads them."""
        people = self._scanner.people(anatomies, draw.generator)
        return torch.cat([self._scanner.scan(some, scans=scans, draw=draw) for some in people])

    def _crowd(self, anatomies: list[Anatomy], draw: Draw) -> Crowd:
        """One new person for each entry of `anatomies`."""
        people = self._scanner.people(anatomies, draw.generator)
        shares = torch.cat([self._scanner.shares(some) for some in people])
        return Crowd(
            torch.cat([self._scanner.scan(some, scans=2, draw=draw) for some in people]),
            torch.cat([some.ages for some in people]),
            describe(shares, self._regions, self._recipe.step_mm),
        )

    def _population(self, count: int, generator: torch.Generator) -> Tensor:
        """Descriptors (count, R, 3) of people spread over the anatomies learned from."""
        return torch.cat(
            [
                describe(self._scanner.shares(some), self._regions, self._recipe.step_mm)
                for some in self._scanner.people(spread(self._anatomies, count), generator)
            ]
        )

    def _alike(self, crowd: Crowd) -> tuple[Tensor, Tensor]:
        """How alike people are in anatomy and in age, (B, B) each."""
        recipe = self._recipe
        standardised = self._norms.standardised(crowd.descriptors)
        squared = squared_distances(standardised, recipe.descriptor)
        anatomy = weak_contrast.kernel(squared, recipe.kernel, recipe.anatomy_width).mean(dim=2)
        years = (crowd.ages[:, None] - crowd.ages[None]) ** 2
        return anatomy, weak_contrast.kernel(years, recipe.kernel, recipe.age_width)


def spread(anatomies: Sequence[Anatomy], count: int) -> list[Anatomy]:
    """`count` entries, as many of each anatomy, those of one side by side."""
    return [anatomies[person * len(anatomies) // count] for person in range(count)]


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, over pairs of different people; (B, B) each."""
    pairs = torch.triu(torch.ones_like(one, dtype=torch.bool), diagonal=1)
    return float(torch.corrcoef(torch.stack([one[pairs], other[pairs]]))[0, 1])


def _centred(features: Tensor) -> FloatArray:
    """Unit vectors about the mean of the batch: features are never negative."""
    unit: FloatArray = nnf.normalize(features - features.mean(dim=0), dim=1).numpy()
    return unit
