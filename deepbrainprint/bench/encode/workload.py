"""How much is measured: whether it runs at all, or what is published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """Counts for one size of the benchmark; the same counts always draw the same brains."""

    batches: tuple[int, ...]
    threads: tuple[int, ...]
    rounds: int  # each variant takes its turn in each
    scans: int  # encoded by a variant at each batch size of a round, and at least one batch
    compiled: bool  # torch.compile, which takes a minute to start
    loads: int  # processes started to see how long opening takes
    seen: int  # brains from which INT8 takes its ranges
    fresh: int  # others, on which it chooses its convolutions
    judged: int  # others again, on which parity is measured


SIZES = {
    "smoke": Workload(
        batches=(1, 2), threads=(2,), rounds=2, scans=2, compiled=False, loads=1,
        seen=4, fresh=4, judged=4,
    ),
    "full": Workload(
        batches=(1, 2, 4, 8, 16, 32, 64), threads=(1, 2), rounds=7, scans=16, compiled=True,
        loads=7, seen=12, fresh=16, judged=16,
    ),
}  # fmt: skip
SEED = 20261122
MS_PER_SLICE, LOAD_SECONDS = 12.0, 0.3
GPU_MS, GPU_SLICES_PER_SECOND = 0.3, 50_000.0
EXACT = 0.9999  # least cosine in fp32; in fewer bits it is `encoder.quantise.PARITY`
