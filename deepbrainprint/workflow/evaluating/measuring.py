"""What one method makes of all brains: scores of every pair, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.records import ByteArray
from deepbrainprint.workflow.methods import Method, Progress


@dataclass(frozen=True)
class Measured:
    """What one method made of N brains."""

    matrices: Mapping[str, Floats]  # (N, N) for each way that it can score
    lead: str  # of those, the one that stands for the method
    version: str
    bytes_per_entry: int  # of a gallery
    seconds_per_scan: float  # to describe an aligned brain
    seconds_per_comparison: float


def measure(
    method: Method, brains: Iterable[ByteArray], *, describing: Progress, comparing: Progress
) -> Measured:
    """Describe each brain (182, 218, 182), then compare each with each."""
    held, described = [], 0.0
    for number, brain in enumerate(brains, start=1):
        began = time.perf_counter()
        held.append(method.describe(brain))
        described += time.perf_counter() - began
        describing(number)
    began = time.perf_counter()
    matrices = method.compare(held, comparing)
    compared = time.perf_counter() - began
    return Measured(
        matrices,
        method.lead,
        method.version,
        method.entry(held[0]).nbytes,
        described / len(held),
        compared / len(held) ** 2,
    )
