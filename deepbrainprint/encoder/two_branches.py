"""What DeepBrainPrint learns from: two views of each scan, two branches of loss (2302.13057)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder import losses
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress
from deepbrainprint.encoder.network import EncoderNetwork, ProjectionHead
from deepbrainprint.encoder.recipe import PlaneRecipe
from deepbrainprint.encoder.retrieval import pair_accuracy
from deepbrainprint.encoder.synthesis import Draw, Scanner
from deepbrainprint.encoder.training import hardness
from deepbrainprint.encoder.transforms import augmented
from deepbrainprint.errors import Misconfigured

CHECK_PEOPLE = 96


@dataclass(frozen=True)
class Batch:
    """What one step learns from, drawn at t/H = `elapsed`.

    views: (2, B, P, X, Y), two of the same person each; owners: (B,) whose they are; compared:
    (C,) which of the 2·B views NT-Xent sees.
    """

    views: Tensor
    owners: Tensor
    compared: Tensor
    elapsed: float
    severity: float


class Learner(nn.Module):
    """What is trained: the encoder and, for training only, the projection head."""

    def __init__(self, recipe: PlaneRecipe) -> None:
        super().__init__()
        self.encoder = EncoderNetwork(recipe)
        self.head = ProjectionHead(recipe.head_width)


class TwoBranches:
    """β(t)·Barlow Twins + (1 − β(t))·10⁴·NT-Xent on generated people."""

    def __init__(
        self, recipe: PlaneRecipe, anatomies: Sequence[Anatomy], held_out: Sequence[Anatomy]
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.learner = Learner(recipe)
        self._recipe = recipe
        self._anatomies = anatomies
        self._scanner = Scanner(recipe)
        self._check = draw_people(
            self._scanner, held_out, people=CHECK_PEOPLE, scans=2, seed=recipe.seed
        )

    @property
    def network(self) -> EncoderNetwork:
        """The encoder."""
        return self.learner.encoder

    def draw(self, at: Progress, elapsed: float) -> Batch:
        """The batch of one step; its seed is the recipe's with the number of the step."""
        recipe = self._recipe
        severity = hardness(elapsed, recipe)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + at.step)
        chosen = choose(self._anatomies, recipe, elapsed, generator)
        scans = self._scanner.scan(chosen, scans=2, draw=Draw(generator, severity))
        if recipe.views == "scans":
            views, owners = scans.transpose(0, 1), torch.arange(len(scans))
            return Batch(views, owners, torch.arange(2 * len(scans)), elapsed, severity)
        planes, owners = scans.flatten(0, 1), torch.arange(len(scans)).repeat_interleave(2)
        views = torch.stack([augmented(planes, generator, recipe.transforms) for _ in range(2)])
        return Batch(views, owners, torch.arange(len(planes)), elapsed, severity)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch and its figures."""
        recipe = self._recipe
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.backbone(batch.views.flatten(0, 1))  # first views, then second
        features = features.float()
        projected = self.learner.head(features)
        twins = losses.barlow_twins(*projected.chunk(2), redundancy=recipe.redundancy)
        where = projected if recipe.contrastive_on == "head" else features
        nt_xent = self._contrast(where, batch)
        beta = losses.beta(recipe.beta, batch.elapsed)
        loss = losses.mix(twins, nt_xent, beta=beta, weight=recipe.contrastive_weight)
        unit = nnf.normalize(features.detach(), dim=1).numpy()
        return loss, {
            "loss": loss.item(),
            "barlow_twins": twins.item(),
            "nt_xent": nt_xent.item(),
            "beta": beta,
            "pair_accuracy": pair_accuracy(*np.split(unit, 2)),
            "severity": batch.severity,
        }

    def _contrast(self, vectors: Tensor, batch: Batch) -> Tensor:
        recipe = self._recipe
        nt_xent = losses.nt_xent_mined if recipe.negatives == "mined" else losses.nt_xent_all
        people = batch.owners.repeat(2)[batch.compared]
        return nt_xent(vectors[batch.compared], people, temperature=recipe.temperature)

    def check(self) -> dict[str, float]:
        """Pair accuracy of held-out people."""
        return {"held_out_accuracy": check_accuracy(self.network, self._check)}

    def results(self) -> dict[str, float]:
        """Nothing of its own: the paper reports retrieval, which is measured for all methods."""
        return {}

    def adopt(self, weights: Path) -> None:
        """Misconfigured: the paper's authors released no weights."""
        raise Misconfigured(
            f"{weights.name} cannot be taken: DeepBrainPrint's authors released no weights, so "
            "train it",
            code="no_such_weights",
        )

    def scan(self, anatomies: list[Anatomy], *, scans: int, draw: Draw) -> Tensor:
        """Standardised planes (people, scans, P, X, Y)."""
        return self._scanner.scan(anatomies, scans=scans, draw=draw)


def choose(
    anatomies: Sequence[Anatomy], recipe: PlaneRecipe, elapsed: float, generator: torch.Generator
) -> list[Anatomy]:
    """The base anatomy of each person of a batch; fewer anatomies, so more siblings, over time."""
    phase = min(int(elapsed * len(recipe.anatomies)), len(recipe.anatomies) - 1)
    count = min(recipe.anatomies[phase], len(anatomies))
    order = torch.randperm(len(anatomies), generator=generator)[:count].tolist()
    return [anatomies[order[person * count // recipe.people]] for person in range(recipe.people)]


def draw_people(
    scanner: Scanner, anatomies: Sequence[Anatomy], *, people: int, scans: int, seed: int
) -> Tensor:
    """(people, scans, P, X, Y): generated people spread evenly over `anatomies`, full severity."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [anatomies[person * len(anatomies) // people] for person in range(people)]
    return scanner.scan(chosen, scans=scans, draw=Draw(generator))


@torch.inference_mode()
def check_accuracy(encoder: EncoderNetwork, scans: Tensor) -> float:
    """Pair accuracy of held-out people (people, 2, P, X, Y)."""
    encoder.eval()
    vectors = [encoder.fingerprints(part.flatten(0, 1)) for part in torch.split(scans, 16)]
    pairs = torch.cat(vectors).reshape(len(scans), 2, -1).numpy()
    return pair_accuracy(pairs[:, 0], pairs[:, 1])
