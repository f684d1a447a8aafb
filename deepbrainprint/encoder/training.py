"""One linear training loop: draw people, scan them twice, two branches of loss, step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder import lars, losses
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress, restore, save
from deepbrainprint.encoder.network import EncoderNetwork, ProjectionHead
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.retrieval import pair_accuracy
from deepbrainprint.encoder.synthesis import Draw, Scanner
from deepbrainprint.encoder.transforms import augmented

FRAMEWORK = f"torch {torch.__version__}"
METRICS = "metrics.jsonl"
CHECK_PEOPLE = 96

Report = Callable[[int, int, dict[str, float]], None]


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

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.encoder = EncoderNetwork(recipe)
        self.head = ProjectionHead(recipe.head_width)


def fit(
    anatomies: Sequence[Anatomy],
    held_out: Sequence[Anatomy],
    recipe: Recipe,
    out: Path,
    report: Report,
) -> EncoderNetwork:
    """Train on people generated from `anatomies`, checking on people from `held_out`.

    Writes metrics.jsonl and checkpoints to `out` and goes on from the last checkpoint there.
    Returns the trained network in evaluation mode.
    """
    torch.manual_seed(recipe.seed)
    learner = Learner(recipe)
    optimiser = optimiser_of(learner, recipe)
    at = restore(out, learner, optimiser)
    scanner = Scanner(recipe)
    check = draw_people(scanner, held_out, people=CHECK_PEOPLE, scans=2, seed=recipe.seed)
    started = time.monotonic() - at.seconds

    with ThreadPoolExecutor(max_workers=1) as drawer:  # draws the next batch while this one learns
        coming = drawer.submit(draw_batch, scanner, anatomies, recipe, at)
        while share(at, recipe) < 1:
            batch = coming.result()
            ahead = Progress(at.step + 1, time.monotonic() - started)
            coming = drawer.submit(draw_batch, scanner, anatomies, recipe, ahead)

            learner.train()
            for group in optimiser.param_groups:
                group["lr"] = group["full_rate"] * rate(batch.elapsed, recipe)
            loss, figures = two_branches(learner, batch, recipe)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

            at = Progress(at.step + 1, time.monotonic() - started)
            figures["severity"] = batch.severity
            if at.step % recipe.check_every == 0 or share(at, recipe) >= 1:
                figures["held_out_accuracy"] = check_accuracy(learner.encoder, check)
                save(out, learner, optimiser, at)
            note(out / METRICS, at, batch.elapsed, figures)
            report(at.step, expected_steps(at, recipe), figures)
    return learner.encoder.eval()


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


def draw_batch(
    scanner: Scanner, anatomies: Sequence[Anatomy], recipe: Recipe, at: Progress
) -> Batch:
    """The batch of one step; its seed is the recipe's with the number of the step."""
    elapsed = min(share(at, recipe), 1.0)
    severity = hardness(elapsed, recipe)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + at.step)
    chosen = choose(anatomies, recipe, elapsed, generator)
    scans = scanner.scan(chosen, scans=2, draw=Draw(generator, severity))
    if recipe.views == "scans":
        views, owners = scans.transpose(0, 1), torch.arange(len(scans))
        return Batch(views, owners, torch.arange(2 * len(scans)), elapsed, severity)
    planes, owners = scans.flatten(0, 1), torch.arange(len(scans)).repeat_interleave(2)
    views = torch.stack([augmented(planes, generator), augmented(planes, generator)])
    return Batch(views, owners, torch.arange(len(planes)), elapsed, severity)


def hardness(elapsed: float, recipe: Recipe) -> float:
    """Severity: 0 to 1 over the ramp, 1 in the middle, on to `hardest` over the last part."""
    beyond = max(0.0, elapsed - recipe.harder_from) / (1 - recipe.harder_from)
    return min(elapsed / recipe.ramp, 1.0) + beyond * (recipe.hardest - 1)


def choose(
    anatomies: Sequence[Anatomy], recipe: Recipe, elapsed: float, generator: torch.Generator
) -> list[Anatomy]:
    """The base anatomy of each person of a batch; fewer anatomies, so more siblings, over time."""
    phase = min(int(elapsed * len(recipe.anatomies)), len(recipe.anatomies) - 1)
    count = min(recipe.anatomies[phase], len(anatomies))
    order = torch.randperm(len(anatomies), generator=generator)[:count].tolist()
    return [anatomies[order[person * count // recipe.people]] for person in range(recipe.people)]


def two_branches(learner: Learner, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch and its figures."""
    with torch.autocast("cpu", torch.bfloat16):
        features = learner.encoder.backbone(batch.views.flatten(0, 1))  # first views, then second
    features = features.float()
    projected = learner.head(features)
    first, second = projected.chunk(2)
    twins = losses.barlow_twins(first, second, redundancy=recipe.redundancy)
    contrast = losses.nt_xent_mined if recipe.negatives == "mined" else losses.nt_xent_all
    where = projected if recipe.contrastive_on == "head" else features
    people = batch.owners.repeat(2)[batch.compared]
    nt_xent = contrast(where[batch.compared], people, temperature=recipe.temperature)
    beta = losses.beta(recipe.beta, batch.elapsed)
    loss = losses.mix(twins, nt_xent, beta=beta, weight=recipe.contrastive_weight)
    unit = nnf.normalize(features.detach(), dim=1).numpy()
    accuracy = pair_accuracy(*np.split(unit, 2))
    return loss, {
        "loss": loss.item(),
        "barlow_twins": twins.item(),
        "nt_xent": nt_xent.item(),
        "beta": beta,
        "pair_accuracy": accuracy,
    }


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
