"""Where a run stands, on disk: safetensors for the tensors, JSON for the rest; no pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

NOTES = "checkpoint.json"


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    seconds: float = 0.0  # spent training, pauses between runs left out


def save(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, at: Progress) -> None:
    """Write model, optimiser and progress; a kill in the middle leaves the last one whole."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    name = f"checkpoint-{at.step}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    notes = {"step": at.step, "seconds": at.seconds, "tensors": name}
    (folder / f"{NOTES}.part").write_text(json.dumps(notes))
    (folder / f"{NOTES}.part").replace(folder / NOTES)  # from here on the new one counts
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink()


def restore(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Load the last checkpoint of `folder` into both; Progress() when there is none."""
    if not (folder / NOTES).is_file():
        return Progress()
    notes = json.loads((folder / NOTES).read_text())
    tensors = load_file(folder / notes["tensors"])
    model.load_state_dict(_under("model.", tensors))
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _under("optimiser.", tensors).items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": states})
    return Progress(notes["step"], notes["seconds"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
