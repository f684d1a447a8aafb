"""An encoder with random weights: for its speed and for how its runtimes agree, nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from deepbrainprint.encoder.card import GRAPH, write_card
from deepbrainprint.encoder.export import export
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.records import ByteArray


def write_untrained(recipe: Recipe, probes: ByteArray, folder: Path) -> None:
    """Write the recipe's network to `folder` as training would, its weights drawn by its seed.

    Its features are centred on the brains `probes` (B, *recipe.form.shape). Without that all
    cosines lie near 1 whatever the brains, and agreement would prove nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = EncoderNetwork(recipe).eval()
    with torch.inference_mode():
        features = network.backbone(network.reader(torch.from_numpy(probes)))
        network.centre.copy_(features.mean(dim=0))
    folder.mkdir(parents=True, exist_ok=True)
    export(network, probes, folder / GRAPH)
    version = {"version": f"{recipe.name}-untrained", "calibration": {}}
    write_card(folder, version | {"recipe": recipe.as_json(), "input": asdict(recipe.form)})
