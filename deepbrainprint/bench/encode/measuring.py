"""Takes the times: every variant in turn, round after round, so that noise meets all alike."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from deepbrainprint.bench.encode.networks import Network
from deepbrainprint.bench.encode.process import Timing, Worker, worker
from deepbrainprint.bench.encode.variants import Variant, variants, why_not
from deepbrainprint.bench.encode.workload import SEED, Workload
from deepbrainprint.encoder.quantise import cosine
from deepbrainprint.errors import TryAgain

SETTLE_SECONDS = 0.02  # threads of the one before stop spinning
LOADED = Variant("onnx", "fp32", 2)  # as the service opens it

Say = Callable[[str], None]
Times = dict[tuple[Variant, int], list[float]]  # by batch size: ms for a scan, one for each round


@dataclass
class Measured:
    """What was found of one network."""

    network: Network
    times: Times = field(default_factory=dict)
    processor: Times = field(default_factory=dict)  # the same, of all cores together
    load_seconds: dict[Variant, list[dict[str, float]]] = field(default_factory=dict)
    peak_rss_mb: dict[Variant, float] = field(default_factory=dict)
    parity: dict[Variant, float] = field(default_factory=dict)  # least cosine to the reference
    reference: Variant | None = None
    left_out: list[dict[str, Any]] = field(default_factory=list)


def measure(found: Measured, load: Workload, say: Say) -> None:
    """Start all variants of a network that can be, and time them against each other.

    What is found is noted at once, so that it is there when the rest is interrupted.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-encode-")))
        views = folder / "views.npy"
        np.save(views, found.network.views)
        workers = _started(found, load, views, say, stack)
        _compare(found, workers, folder)
        _take_rounds(found, workers, load, say)
        _load_again(found, load, views)


def _started(
    found: Measured, load: Workload, views: Path, say: Say, stack: ExitStack
) -> list[Worker]:
    workers = []
    for variant in variants(load):
        folder = found.network.folders.get(variant.precision)
        why = "there is no such graph" if folder is None else why_not(variant, folder, load)
        if folder is not None and not why:
            say(f"{found.network.name}: {variant.name}, {variant.threads} threads")
            try:
                workers.append(_noted(found, stack.enter_context(worker(variant, folder, views))))
            except TryAgain as error:
                why = str(error)
        if why:
            found.left_out.append({"network": found.network.name, "why": why} | variant.as_json())
    return workers


def _noted(found: Measured, each: Worker) -> Worker:
    found.load_seconds[each.variant] = [each.load_seconds]
    found.peak_rss_mb[each.variant] = each.peak_rss_mb
    return each


def _compare(found: Measured, workers: Sequence[Worker], folder: Path) -> None:
    """Cosines to torch in fp32 where it runs, which trained the network; else to ONNX in fp32.

    Not of fewer bits where the weights are random: these make nearly one fingerprint of all brains,
    and what is left between them is lost in rounding.
    """
    made = {each.variant: each.vectors(folder / "vectors.npy") for each in workers}
    exact = [v for v in made if v.precision == "fp32" and not v.compiled and not v.gpu]
    if not exact:
        return
    reference = min(exact, key=lambda variant: (variant.runtime != "torch", variant.threads))
    found.reference = reference
    for variant, vectors in made.items():
        telling = found.network.trained or variant.precision == "fp32"
        if telling and variant.name != reference.name:
            found.parity[variant] = cosine(vectors, made[reference])


def _take_rounds(found: Measured, workers: Sequence[Worker], load: Workload, say: Say) -> None:
    shuffled = random.Random(SEED)  # noqa: S311 — an order, no secret
    for number in range(load.rounds):
        say(f"{found.network.name}: round {number + 1} of {load.rounds}")
        for batch in load.batches:
            for each in shuffled.sample(workers, len(workers)):
                time.sleep(SETTLE_SECONDS)
                timing = each.times(batch, max(1, load.scans // batch))
                found.peak_rss_mb[each.variant] = each.peak_rss_mb
                _note(found, (each.variant, batch), timing)


def _note(found: Measured, at: tuple[Variant, int], timing: Timing) -> None:
    batch = at[1]
    found.times.setdefault(at, []).append(1e3 * median(timing.seconds) / batch)
    found.processor.setdefault(at, []).append(1e3 * timing.processor_seconds / batch)


def _load_again(found: Measured, load: Workload, views: Path) -> None:
    """Open the encoder in fresh processes, which find its file in the page cache."""
    again = [v for v in found.load_seconds if v == LOADED or v.runtime == "tensorrt"]
    for variant in again:
        for _ in range(load.loads - 1):
            with worker(variant, found.network.folders[variant.precision], views) as each:
                found.load_seconds[variant].append(each.load_seconds)
