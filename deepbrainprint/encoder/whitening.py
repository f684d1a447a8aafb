"""Centres features and evens out how they vary within a person, by one linear map in the graph.

Within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006, Interspeech), shrunk
towards the identity. Without the centre every cosine lies near 1, because features are means of
values that are never negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.synthesis import Draw
from deepbrainprint.encoder.training import Objective

PEOPLE = 384
AT_ONCE = 16


@torch.inference_mode()
def whiten(objective: Objective, anatomies: Sequence[Anatomy], recipe: Recipe) -> None:
    """Set the network's linear map from people generated out of the anatomies learned from."""
    network = objective.network.eval()
    draw = Draw(torch.Generator().manual_seed(recipe.seed))
    chosen = [anatomies[person * len(anatomies) // PEOPLE] for person in range(PEOPLE)]
    pairs = torch.cat(
        [
            network.backbone(
                objective.scan(chosen[i : i + AT_ONCE], scans=2, draw=draw).flatten(0, 1)
            )
            for i in range(0, PEOPLE, AT_ONCE)
        ]
    ).reshape(PEOPLE, 2, -1)
    network.centre.copy_(pairs.mean(dim=(0, 1)))
    network.evening.copy_(evening(pairs, recipe.shrinkage))


def evening(pairs: Tensor, shrinkage: float) -> Tensor:
    """(D, D) symmetric W = (S + λ·tr(S)/D·I)^−½ scaled to a mean diagonal of 1.

    pairs: (N, 2, D), two scans of each person; S is the covariance within a person.
    """
    difference = (pairs[:, 0] - pairs[:, 1]).double()
    within = difference.T @ difference / (2 * len(pairs))
    mean = within.diagonal().mean()
    values, axes = torch.linalg.eigh(within + shrinkage * mean * torch.eye(len(within)))
    matrix: Tensor = axes @ torch.diag(values**-0.5) @ axes.T
    return (matrix / matrix.diagonal().mean()).float()
