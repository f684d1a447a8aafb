"""Generated people for calibration and for measuring: who they are and their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.synthesis import Draw, curves
from deepbrainprint.encoder.training import Objective
from deepbrainprint.records import ByteArray, FloatArray

CONTRASTS = (0, 0, 1, 2)  # scans of each person: two in one contrast, one each in two others
AT_ONCE = 20  # people drawn and encoded together


@dataclass(frozen=True)
class Population:
    """Fingerprints of people who share a set of protocols.

    vectors: (N, 512); people and contrasts: (N,), the same number meaning the same one.
    """

    vectors: FloatArray
    people: npt.NDArray[np.int64]
    contrasts: npt.NDArray[np.int64]


@torch.inference_mode()
def encode(network: EncoderNetwork, views: ByteArray) -> FloatArray:
    """Unit vectors (B, 512) of what the network reads (B, …), as the exported graph gives them."""
    network.eval()
    vectors: FloatArray = network(torch.from_numpy(views)).numpy()
    return vectors


@torch.inference_mode()
def draw_population(
    objective: Objective, anatomies: Sequence[Anatomy], *, people: int, seed: int
) -> Population:
    """`people` new people, spread over `anatomies`, at full severity, scanned as in `CONTRASTS`."""
    network = objective.network.eval()
    generator = torch.Generator().manual_seed(seed)
    protocols = curves(max(CONTRASTS) + 1, generator, 1.0)[list(CONTRASTS)]
    chosen = [anatomies[person * len(anatomies) // people] for person in range(people)]
    parts = []
    for start in range(0, people, AT_ONCE):
        planes = objective.scan(
            chosen[start : start + AT_ONCE],
            scans=len(CONTRASTS),
            draw=Draw(generator, protocols=protocols),
        )
        parts.append(network.fingerprints(planes.flatten(0, 1)).numpy())
    return Population(
        np.concatenate(parts),
        np.repeat(np.arange(people), len(CONTRASTS)),
        np.tile(np.array(CONTRASTS), people),
    )
