"""How well scans find their own person again: figures from a matrix of similarities.

Every scan asks all the others, never itself. Recall@k and mAP@k are DeepBrainPrint's (arXiv
2302.13057, as its code has them); error rates of a search that may end with "nobody" are those of
ISO/IEC 19795-1 (FNIR, FPIR). Intervals draw people, not scans: two scans of one person are not two
facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Searches:
    """The similarity of every probe to every scan that it is searched among.

    similarity: (P, G), larger is more alike; mates, others: (P, G), which scans of the gallery
    show the probe's person, and which show somebody else (the probe itself is neither); people:
    (P,) whose the probes are.
    """

    similarity: Floats
    mates: Mask
    others: Mask
    people: Whole

    @classmethod
    def among(
        cls,
        similarity: Floats,
        people: Whole,
        probes: Mask | None = None,
        held: Mask | None = None,
        pairs: Mask | None = None,
    ) -> Searches:
        """Every scan of `probes` among those of `held`, leaving itself out; by default all.

        similarity: (N, N); people, probes, held: (N,). `pairs` (N, N) says which mates are sought;
        the others are left out of that search. Probes without a mate are left out.
        """
        asked = np.ones(len(people), dtype=bool) if probes is None else probes
        kept = np.ones(len(people), dtype=bool) if held is None else held
        same = people[:, None] == people[None, :]
        mates = same & kept[None, :] & ~np.eye(len(people), dtype=bool)
        if pairs is not None:
            mates &= pairs
        chosen = np.flatnonzero(asked & mates.any(axis=1))
        others = ~same & kept[None, :]
        return cls(similarity[chosen], mates[chosen], others[chosen], people[chosen])

    def relevant(self, k: int) -> Mask:
        """Which of the `k` most similar scans show the probe's person, (P, k); ties by place."""
        scores = np.where(self.mates | self.others, self.similarity, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        found: Mask = np.take_along_axis(self.mates, order, axis=1)
        return found

    def ranks(self) -> Whole:
        """Place of the most similar right scan among the scans of others, (P,); 1 is first.

        Of equal similarities the wrong one counts as first.
        """
        best = np.where(self.mates, self.similarity, -np.inf).max(axis=1)
        ahead = self.others & (self.similarity >= best[:, None])
        places: Whole = 1 + ahead.sum(axis=1)
        return places


@dataclass(frozen=True)
class Figure:
    """A mean over probes with its 95 % interval over people."""

    value: float
    low: float
    high: float
    probes: int
    people: int


def recall(searches: Searches, k: int) -> Floats:
    """Return 1 for each probe with its person among the first `k`, else 0, (P,)."""
    return np.asarray(searches.relevant(k).any(axis=1), dtype=np.float64)


def average_precision(searches: Searches, k: int) -> Floats:
    """Return AP@k of each probe, (P,): Σ_{i≤k} rel_i · precision@i / min(R, k), R its mates."""
    hits = searches.relevant(k)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    most = np.minimum(searches.mates.sum(axis=1), k)
    return np.asarray((hits * precision).sum(axis=1) / most, dtype=np.float64)


def rank_within(searches: Searches, k: int) -> Floats:
    """Return 1 for each probe whose person is ahead of all but `k` − 1 scans of others, (P,)."""
    within: Floats = (searches.ranks() <= k).astype(np.float64)
    return within


def genuine(searches: Searches) -> Floats:
    """Return the similarity of every probe to each of its mates."""
    return searches.similarity[searches.mates]


def impostor(searches: Searches) -> Floats:
    """Return the similarity of every probe to each scan of somebody else."""
    return searches.similarity[searches.others]


def equal_error_rate(right: Floats, wrong: Floats) -> float:
    """Return the rate at which as many genuine pairs are refused as impostor pairs accepted."""
    cuts = np.sort(np.concatenate([right, wrong]))
    missed = np.searchsorted(np.sort(right), cuts, side="left") / len(right)
    taken = 1 - np.searchsorted(np.sort(wrong), cuts, side="left") / len(wrong)
    place = int(np.argmin(np.abs(missed - taken)))
    return float((missed[place] + taken[place]) / 2)


def open_set(searches: Searches, fpir: float) -> tuple[float, Floats]:
    """Return the threshold at which a share `fpir` of searches for nobody there finds somebody.

    And for each probe 1 where its own person is not found above it at rank 1, (P,), whose mean is
    the FNIR. A search for nobody is the probe's own with its mates taken out of the gallery.
    """
    nearest = np.where(searches.others, searches.similarity, -np.inf).max(axis=1)
    best = np.where(searches.mates, searches.similarity, -np.inf).max(axis=1)
    allowed = int(np.floor(fpir * len(nearest)))
    threshold = float(np.sort(nearest)[::-1][min(allowed, len(nearest) - 1)])
    missed: Floats = ((best <= threshold) | (best <= nearest)).astype(np.float64)
    return threshold, missed


def with_interval(
    values: Floats, people: Whole, *, seed: int = 0, resamples: int = RESAMPLES
) -> Figure:
    """Return the mean of `values` (P,) with an interval from drawing people anew.

    Where all probes agree the interval is that of Jeffreys for as many people, since drawing them
    anew would show none.
    """
    names, where = np.unique(people, return_inverse=True)
    if not len(names):
        return Figure(np.nan, np.nan, np.nan, 0, 0)
    total, count = np.bincount(where, values), np.bincount(where)
    mean = float(values.mean())
    if np.ptp(values) == 0 and mean in (0.0, 1.0):
        low, high = _jeffreys(int(mean) * len(names), len(names))
        return Figure(mean, low, high, len(values), len(names))
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return Figure(mean, float(low), float(high), len(values), len(names))


def _jeffreys(hits: int, trials: int) -> tuple[float, float]:
    from scipy.stats import beta  # noqa: PLC0415 — a second to import

    tail = (1 - COVERAGE) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits + 0.5, trials - hits + 0.5))
    high = 1.0 if hits == trials else float(beta.ppf(1 - tail, hits + 0.5, trials - hits + 0.5))
    return low, high


STANDARD: dict[str, Callable[[Searches], Floats]] = {
    "rank_1": lambda searches: rank_within(searches, 1),
    "rank_5": lambda searches: rank_within(searches, 5),
    "recall_at_3": lambda searches: recall(searches, 3),
    "map_at_3": lambda searches: average_precision(searches, 3),
}
