"""One linear training loop: draw people, scan them twice, two branches of loss, step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder import losses
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.checkpoint import Progress, restore, save
from deepbrainprint.encoder.network import EncoderNetwork, ProjectionHead
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.retrieval import pair_accuracy
from deepbrainprint.encoder.synthesis import Draw, Scanner

FRAMEWORK = f"torch {torch.__version__}"
METRICS = "metrics.jsonl"
CHECK_PEOPLE = 96

Report = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Batch:
    """What one step learns from: scans (people, 2, P, X, Y), drawn at t/H = `elapsed`."""

    scans: Tensor
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
    optimiser = torch.optim.AdamW(_groups(learner, recipe.weight_decay), lr=recipe.learning_rate)
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
                group["lr"] = recipe.learning_rate * rate(batch.elapsed, recipe.warmup)
            loss, figures = two_branches(learner, batch.scans, recipe, batch.elapsed)
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


def rate(elapsed: float, warmup: float) -> float:
    """Linear warm-up, then a half cosine down to 0."""
    return min(elapsed / warmup + 0.05, 1.0, (1 + cos(pi * elapsed)) / 2)


def draw_batch(
    scanner: Scanner, anatomies: Sequence[Anatomy], recipe: Recipe, at: Progress
) -> Batch:
    """The batch of one step; its seed is the recipe's with the number of the step."""
    elapsed = min(share(at, recipe), 1.0)
    severity = hardness(elapsed, recipe)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + at.step)
    chosen = choose(anatomies, recipe, elapsed, generator)
    return Batch(scanner.scan(chosen, scans=2, draw=Draw(generator, severity)), elapsed, severity)


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


def two_branches(
    learner: Learner, scans: Tensor, recipe: Recipe, elapsed: float
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch (people, 2, P, X, Y) and its figures."""
    people = torch.arange(len(scans)).repeat(2)
    views = scans.transpose(0, 1).flatten(0, 1)  # first scans, then second scans
    with torch.autocast("cpu", torch.bfloat16):
        features = learner.encoder.backbone(views)
    features = features.float()
    projected = learner.head(features)
    first, second = projected.chunk(2)
    twins = losses.barlow_twins(first, second, redundancy=recipe.redundancy)
    contrast = losses.nt_xent_mined if recipe.negatives == "mined" else losses.nt_xent_all
    compared = projected if recipe.contrastive_on == "head" else features
    nt_xent = contrast(compared, people, temperature=recipe.temperature)
    beta = losses.linear_beta(elapsed)
    loss = losses.mix(twins, nt_xent, beta=beta, weight=recipe.contrastive_weight)
    unit = nnf.normalize(features.detach(), dim=1).numpy()
    accuracy = pair_accuracy(unit[: len(scans)], unit[len(scans) :])
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


def _groups(learner: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weights decay; biases and norms do not."""
    weights = [p for p in learner.parameters() if p.ndim > 1]
    others = [p for p in learner.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
