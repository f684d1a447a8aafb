"""One linear training loop for every method: draw, learn, step, check, keep.

What is drawn and how it is scored belongs to an `Objective`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from math import cos, pi
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from deepbrainprint.encoder import lars
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress, restore, save
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.synthesis import Draw

FRAMEWORK = f"torch {torch.__version__}"
METRICS = "metrics.jsonl"

Report = Callable[[int, int, dict[str, float]], None]


class Objective(Protocol):
    """What one method learns from, and what of it is kept."""

    @property
    def learner(self) -> nn.Module:
        """Everything that is trained."""

    @property
    def network(self) -> EncoderNetwork:
        """The part of the learner that makes fingerprints."""

    def draw(self, at: Progress, elapsed: float) -> Any:
        """Return the batch of a step at t/H = `elapsed`; asked for in another thread, ahead."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch and figures to note."""

    def check(self) -> dict[str, float]:
        """Return figures on generated people of held-out anatomies."""

    def results(self) -> dict[str, float]:
        """Return what the paper itself reports of such a network, once it is trained."""

    def adopt(self, weights: Path) -> None:
        """Put in the weights of the paper's authors instead of training.

        Misconfigured when there are none for this method, or when they do not fit.
        """

    def scan(self, anatomies: list[Anatomy], *, scans: int, draw: Draw) -> Tensor:
        """Return (people, scans, …): new people as the network's backbone reads them."""


def fit(objective: Objective, recipe: Recipe, out: Path, report: Report) -> EncoderNetwork:
    """Train on what the objective draws.

    Writes metrics.jsonl and checkpoints to `out` and goes on from the last checkpoint there.
    Returns the trained network in evaluation mode.
    """
    learner = objective.learner
    optimiser = optimiser_of(learner, recipe)
    at = restore(out, learner, optimiser)
    started = time.monotonic() - at.seconds

    with ThreadPoolExecutor(max_workers=1) as drawer:  # draws the next batch while this one learns
        elapsed = share(at, recipe)
        coming = drawer.submit(objective.draw, at, elapsed)
        while elapsed < 1:
            batch, now = coming.result(), elapsed
            ahead = Progress(at.step + 1, time.monotonic() - started)
            elapsed = share(ahead, recipe)
            coming = drawer.submit(objective.draw, ahead, min(elapsed, 1.0))

            learner.train()
            for group in optimiser.param_groups:
                group["lr"] = group["full_rate"] * rate(now, recipe)
            loss, figures = objective.loss(batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if finite(learner):
                optimiser.step()
            else:
                figures["skipped"] = 1.0

            at = Progress(at.step + 1, time.monotonic() - started)
            if at.step % recipe.check_every == 0 or elapsed >= 1:
                figures |= objective.check()
                save(out, learner, optimiser, at)
            note(out / METRICS, at, now, figures)
            report(at.step, expected_steps(at, recipe), figures)
    return objective.network.eval()


def finite(learner: nn.Module) -> bool:
    """Whether every gradient is a number: 3D convolutions over few voxels in bfloat16 may overflow.

    One such step would spoil all weights.
    """
    found = [p.grad.norm() for p in learner.parameters() if p.grad is not None]
    return bool(torch.stack(found).isfinite().all())


def share(at: Progress, recipe: Recipe) -> float:
    """t/H: how much of the run is done, by the clock or by steps."""
    return at.seconds / (60 * recipe.minutes) if recipe.minutes else at.step / recipe.steps


def expected_steps(at: Progress, recipe: Recipe) -> int:
    """How many steps the whole run will have."""
    return max(at.step, round(at.step / share(at, recipe)))


def rate(elapsed: float, recipe: Recipe) -> float:
    """Share of the full learning rate: linear warm-up, then half a cosine down."""
    if recipe.optimiser == "lars":
        return lars.rate(elapsed, recipe.warmup)
    return min(elapsed / recipe.warmup + 0.05, 1.0, (1 + cos(pi * elapsed)) / 2)


def hardness(elapsed: float, recipe: Recipe) -> float:
    """Severity: 0 to 1 over the ramp, 1 in the middle, on to `hardest` over the last part."""
    beyond = max(0.0, elapsed - recipe.harder_from) / (1 - recipe.harder_from)
    return min(elapsed / recipe.ramp, 1.0) + beyond * (recipe.hardest - 1)


def note(path: Path, at: Progress, elapsed: float, figures: dict[str, float]) -> None:
    """Append one line of metrics."""
    rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
    with path.open("a") as lines:
        lines.write(json.dumps(asdict(at) | {"elapsed": round(elapsed, 5)} | rounded) + "\n")


def optimiser_of(learner: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; each group of parameters knows its `full_rate`."""
    if recipe.optimiser == "lars":
        return lars.Lars(lars.groups(learner, batch=2 * recipe.people))
    weights = [p for p in learner.parameters() if p.ndim > 1]
    others = [p for p in learner.parameters() if p.ndim <= 1]
    full = {"full_rate": recipe.learning_rate}
    return torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": recipe.weight_decay} | full,
            {"params": others, "weight_decay": 0.0} | full,
        ],
        lr=recipe.learning_rate,
    )
