"""torch itself: the network of the card's recipe with the weights that training left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from deepbrainprint.encoder.card import Card, checked_weights
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.recipe import recipe_from
from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import ByteArray, FloatArray


class TorchEngine:
    """The network in evaluation mode, on a GPU where torch finds one.

    The number of threads is torch's, so it holds for the whole process, as does that convolutions
    in float32 are computed in no less on a GPU. With `reduced` the backbone runs in bfloat16; the
    reader before it and the linear map after it stay in float32.
    """

    def __init__(
        self, network: nn.Module, threads: int, *, compiled: bool = False, reduced: bool = False
    ) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        network = network.eval().to(self._device)
        if reduced:
            network.backbone = Reduced(network.backbone, self._device)  # type: ignore[arg-type]
        self._network: Any = torch.compile(network) if compiled else network

    @classmethod
    def opened(
        cls,
        folder: Path,
        card: Card,
        threads: int,
        *,
        compiled: bool = False,
        reduced: bool = False,
    ) -> TorchEngine:
        """The encoder in `folder`; Misconfigured when its weights are missing or do not fit."""
        network = loaded(checked_weights(folder, card), card)
        return cls(network, threads, compiled=compiled, reduced=reduced)

    @torch.inference_mode()
    def run(self, views: ByteArray) -> FloatArray:
        """Unit vectors (B, 512) of views (B, …)."""
        vectors = self._network(torch.from_numpy(views).to(self._device))
        fingerprints: FloatArray = vectors.float().numpy(force=True)
        return fingerprints


class Reduced(nn.Module):
    """A backbone (B, …) → (B, 512) whose convolutions run in bfloat16."""

    def __init__(self, backbone: nn.Module, device: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.device = device

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Features in float32."""
        with torch.autocast(self.device, torch.bfloat16):
            features: torch.Tensor = self.backbone(views)
        return features.float()


def gpu_name() -> str | None:
    """The GPU that torch would use, or None."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def loaded(weights: Path, card: Card) -> EncoderNetwork:
    """The network that the card's recipe describes, with these weights."""
    try:
        network = EncoderNetwork(recipe_from(card.document["recipe"]))
        network.load_state_dict(load_file(weights))
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise Misconfigured(
            f"{weights} does not fit the recipe on its card: copy or train the encoder again",
            code="encoder_damaged",
        ) from error
    return network
