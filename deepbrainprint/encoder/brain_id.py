"""Brain-ID: features of the anatomy whatever the contrast (Liu et al. 2023, arXiv 2311.16914).

A U-Net turns any scan of a person into that person's T1w-like image; its last decoder layer is a
vector of features for each voxel. The paper has no fingerprint of a person: pooling the features
in the aligned space is our own construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress
from deepbrainprint.encoder.lattice import ALIGNED, Deforming, Lattice, draw_deformation
from deepbrainprint.encoder.mild_to_severe import (
    Look,
    Subject,
    between,
    draw_subject,
    draw_view,
    smoothed,
    tissue_of,
)
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.recipe import BrainIdRecipe
from deepbrainprint.encoder.retrieval import pair_accuracy
from deepbrainprint.encoder.robustness import robustness, ssim
from deepbrainprint.encoder.synthesis import Draw, Rules, poses
from deepbrainprint.encoder.unet import load_authors

if TYPE_CHECKING:
    from deepbrainprint.encoder.pooling import BrainIdBackbone

OUTLINE = 0.1  # share of a voxel that is brain, from which on the voxel is
SUBJECTS_CHECKED = 3  # of whom images and feature maps are compared


@dataclass(frozen=True)
class Batch:
    """What one step learns from: views (S, V, Z, X, Y) and targets (S, Z, X, Y)."""

    views: Tensor
    targets: Tensor


class BrainIdObjective:
    """L1 of image and gradient between what is made of each view and the person's T1w-like image.

    `backbone` is all that is trained; `network` makes fingerprints of what it gives.
    """

    def __init__(
        self,
        recipe: BrainIdRecipe,
        anatomies: Sequence[Anatomy],
        held_out: Sequence[Anatomy],
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(recipe.seed)
        self._recipe, self._device, self._lattice = recipe, device, Lattice(recipe.step_mm)
        self._anatomies = [smoothed(anatomy, self._lattice) for anatomy in anatomies]
        self._held_out = held_out
        self.network = EncoderNetwork(recipe).to(device)
        self.learner: nn.Module = self.network
        self.backbone = cast("BrainIdBackbone", self.network.backbone)
        self.backbone.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        generator = torch.Generator().manual_seed(recipe.seed)
        count = recipe.check_people
        chosen = [held_out[person * len(held_out) // count] for person in range(count)]
        self._people = self.scan(chosen, scans=2, draw=Draw(generator))
        few = chosen[:: max(1, count // SUBJECTS_CHECKED)]
        self._subjects = [self._subject(smoothed(a, self._lattice), generator) for a in few]

    def draw(self, at: Progress, elapsed: float) -> Batch:  # noqa: ARG002 - views are always mixed
        """The batch of one step; its seed is the recipe's with the number of the step."""
        generator = torch.Generator().manual_seed(self._recipe.seed * 1_000_003 + at.step)
        order = torch.randint(
            len(self._anatomies), (self._recipe.people,), generator=generator
        ).tolist()
        subjects = [self._subject(self._anatomies[i], generator) for i in order]
        return Batch(
            torch.stack([s.views for s in subjects]),
            torch.stack([s.tissue.target for s in subjects]),
        )

    def _subject(self, anatomy: Anatomy, generator: torch.Generator) -> Subject:
        deformation = draw_deformation(self._lattice, generator, Deforming())
        return draw_subject(anatomy, self._lattice, deformation, generator, self._device)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch and its figures."""
        views = batch.views.flatten(0, 1)[:, None]  # (S·V, 1, Z, X, Y)
        targets = batch.targets.repeat_interleave(batch.views.shape[1], dim=0)
        with self._halved():
            made = self.backbone.unet(views.to(memory_format=torch.channels_last_3d))
        image, gradient = reconstruction_losses(made[:, 0].float(), targets)
        loss = image + gradient
        return loss, {
            "loss": loss.item(),
            "l1_image": image.item(),
            "l1_gradient": gradient.item(),
        }

    def _halved(self) -> torch.autocast:
        return torch.autocast(self._device.split(":")[0], torch.bfloat16)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Figures on held-out people: L1 of images, SSIM of features, accuracy of fingerprints.

        `feature_ssim` compares the maps of a mild and of a severe view of one person.
        """
        self.backbone.eval()
        l1, alike = [], []
        for subject in self._subjects:
            with self._halved():
                features = self.backbone.unet.features(subject.views[[0, -1], None])
                made = self.backbone.unet.head(features)[:, 0]
            l1.append(float((made - subject.tissue.target).abs().mean()))
            alike.append(ssim(features[0], features[-1]))
        return {
            "held_out_l1": sum(l1) / len(l1),
            "feature_ssim": sum(alike) / len(alike),
            "held_out_accuracy": self._pair_accuracy(),
        }

    def _pair_accuracy(self) -> float:
        with self._halved():
            vectors = torch.stack([self.backbone(pair) for pair in self._people])  # (P, 2, 512)
        vectors = vectors.float()
        vectors = nnf.normalize(vectors - vectors.mean(dim=(0, 1)), dim=-1).cpu()
        return pair_accuracy(vectors[:, 0].numpy(), vectors[:, 1].numpy())

    def results(self) -> dict[str, float]:
        """How much features change with the scan and from person to person, on held-out people."""
        generator = torch.Generator().manual_seed(self._recipe.seed)
        unet, device = self.backbone.unet, self._device
        return robustness(unet, self._held_out, self._lattice, generator, device)

    def adopt(self, weights: Path) -> None:
        """Put the authors' released weights in; Misconfigured when they do not fit the recipe."""
        recipe = self._recipe
        released = load_authors(weights, width=recipe.width, levels=recipe.levels)
        self.backbone.unet.load_state_dict(released.state_dict())

    def scan(self, anatomies: list[Anatomy], *, scans: int, draw: Draw) -> Tensor:
        """One new person for each of `anatomies`, scanned `scans` times: (people, scans, Z, X, Y).

        As the service aligns and strips them: each scan lies a little otherwise than the others,
        and outside the brain there is nothing.
        """
        smooth = (smoothed(anatomy, self._lattice) for anatomy in anatomies)
        return torch.stack([self._person(anatomy, scans, draw) for anatomy in smooth])

    def _person(self, anatomy: Anatomy, scans: int, draw: Draw) -> Tensor:
        lattice = self._lattice
        deformation = draw_deformation(lattice, draw.generator, ALIGNED)
        seen = []
        for scan, pose in enumerate(poses(scans, Rules(), draw)):
            tissue = tissue_of(anatomy, deformation.places(lattice, pose).to(self._device))
            curve = draw.protocols[scan] if draw.protocols is not None else None
            look = Look(replace(between(draw.severity), bag=0.0), curve=curve)
            view = draw_view(tissue, lattice, look, draw.generator)
            seen.append(view * (tissue.mask > OUTLINE))
        return torch.stack(seen)


def reconstruction_losses(made: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """L1 of (B, Z, X, Y), and the sum over axes of L1 of the differences between neighbours.

    Both count with weight 1 in the released code of Brain-ID.
    """
    error = made - target
    steps = [error.diff(dim=axis).abs().sum() / error.numel() for axis in (1, 2, 3)]
    return error.abs().mean(), torch.stack(steps).sum()
