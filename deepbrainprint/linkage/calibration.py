"""From cosine similarity to evidence: log-likelihood ratios and thresholds, with uncertainty.

A logistic map for each condition gives the natural-log likelihood ratio of "same person" against
"two people" (Morrison 2013, Aust J Forensic Sci 45:173). The thresholds follow from error rates:
`link_above` from the fitted upper tail of different people, `new_below` from the lower tail of
repeated people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import exp, log
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
People = npt.NDArray[np.int64]

REFERENCE_GALLERY = 100
FALSE_LINK_RATE = 0.01  # of a new person against the whole reference gallery
MISS_RATE = 0.01  # of a known person called new
CERTAINTY = 0.99  # that the best candidate, not the second, is the right one
TAIL = 0.02  # share of different-person pairs on which the tail is fitted
TAIL_PAIRS = 20  # fewest pairs in that tail; below it the tail starts lower
RESAMPLES = 200
RIDGE = 1e-4


@dataclass(frozen=True)
class Scores:
    """Cosine similarities of pairs of scans from one source under one condition.

    genuine: (N,) pairs of one person, whose number is in genuine_people (N,); impostor: (M,)
    pairs of two people, numbered in impostor_people (M, 2).
    """

    source: str  # "generated" or "real"
    same_contrast: bool
    genuine: Floats
    genuine_people: People
    impostor: Floats
    impostor_people: People

    def people(self) -> int:
        """How many different people the pairs come from."""
        return len(np.union1d(self.genuine_people, self.impostor_people))


@dataclass(frozen=True)
class Line:
    """llr = slope · (similarity − centre)."""

    slope: float
    centre: float

    def llr(self, similarity: float) -> float:
        """Natural-log likelihood ratio."""
        return self.slope * (similarity - self.centre)


@dataclass(frozen=True)
class Calibration:
    """Evidence maps and decision thresholds of one encoder."""

    same: Line
    cross: Line
    link_above: float
    new_below: float
    close_margin: float
    reference_gallery: int
    derivation: Mapping[str, Any]  # how each number came about, with counts and intervals

    def llr(self, similarity: float, *, same_contrast: bool) -> float:
        """Natural-log likelihood ratio of "same person" for a cosine similarity."""
        return (self.same if same_contrast else self.cross).llr(similarity)

    def to_json(self) -> dict[str, Any]:
        """The document that is stored with the encoder."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; KeyError when a field is missing."""
        lines = {name: Line(**document[name]) for name in ("same", "cross")}
        return cls(**{field.name: document[field.name] for field in fields(cls)} | lines)


def fit(scores: Sequence[Scores], *, seed: int = 0) -> Calibration:
    """Calibrate from similarities; both conditions must have genuine and impostor pairs."""
    same, cross = (
        fit_line([s for s in scores if s.same_contrast is condition]) for condition in (True, False)
    )
    lines = {True: same, False: cross}
    rate = 1 - (1 - FALSE_LINK_RATE) ** (1 / REFERENCE_GALLERY)
    link, new = thresholds(scores, lines, rate)
    links, news = _resampled(scores, lines, rate, np.random.default_rng(seed))
    return Calibration(
        same=same,
        cross=cross,
        link_above=max(link, new),
        new_below=min(link, new),
        close_margin=log(CERTAINTY / (1 - CERTAINTY)),
        reference_gallery=REFERENCE_GALLERY,
        derivation={
            "link_above": {
                "rule": "exponential tail, in −ln(1 − s), of different-person pairs, the worst of "
                f"all conditions and sources, at {rate:.3g} false matches per comparison: a new "
                f"person is linked in {FALSE_LINK_RATE:.0%} of searches of {REFERENCE_GALLERY}",
                "value": link,
                "interval_95": _interval(links),
            },
            "new_below": {
                "rule": f"{MISS_RATE:.0%} quantile of same-person pairs, the worst of all "
                "conditions and sources",
                "value": new,
                "interval_95": _interval(news),
            },
            "close_margin": {
                "rule": "evidence ratio at which the best of two candidates is the right one "
                f"with {CERTAINTY:.0%} certainty"
            },
            "crossed": bool(new > link),
            "resamples_by_person": RESAMPLES,
            "scores": [_described(s, lines[s.same_contrast], rate) for s in scores],
        },
    )


def fit_line(scores: Sequence[Scores]) -> Line:
    """Logistic regression with even prior odds; each source weighs the same in each class.

    The targets are smoothed as in Platt's method (Platt 1999), so that classes that do not
    overlap give a finite slope.
    """
    parts = [_weighted(s.genuine, 1, scores) for s in scores if len(s.genuine)]
    parts += [_weighted(s.impostor, 0, scores) for s in scores if len(s.impostor)]
    x, target, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    mean, spread = float(x.mean()), float(x.std())
    z = (x - mean) / spread

    def cost(parameters: Floats) -> tuple[float, Floats]:
        logit = parameters[0] * z + parameters[1]
        loss = weight @ (np.logaddexp(0, logit) - target * logit)
        slack = weight * (1 / (1 + np.exp(-np.clip(logit, -500, 500))) - target)
        gradient = np.array([slack @ z, slack.sum()]) + 2 * RIDGE * parameters
        return float(loss + RIDGE * parameters @ parameters), gradient

    a, b = minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Line(slope=float(a / spread), centre=float(mean - b * spread / a))


def _weighted(
    values: Floats, label: int, scores: Sequence[Scores]
) -> tuple[Floats, Floats, Floats]:
    kind = "genuine" if label else "impostor"
    sources = sum(1 for s in scores if len(getattr(s, kind)))
    pairs = sum(len(getattr(s, kind)) for s in scores)
    target = (pairs + 1) / (pairs + 2) if label else 1 / (pairs + 2)
    weight = np.full(len(values), 0.5 / sources / len(values))
    return values.astype(np.float64), np.full(len(values), target), weight


def thresholds(
    scores: Sequence[Scores],
    lines: Mapping[bool, Line],
    rate: float,
    weights: Sequence[tuple[Floats, Floats]] | None = None,
) -> tuple[float, float]:
    """(link_above, new_below) as log-likelihood ratios, the worst over all of `scores`."""
    links, news = [], []
    for s, (genuine, impostor) in zip(scores, weights or [_even(s) for s in scores], strict=True):
        line = lines[s.same_contrast]
        if impostor.sum() > 0:
            links.append(line.llr(tail_threshold(s.impostor, impostor, rate)))
        if genuine.sum() > 0:
            news.append(line.llr(quantile(s.genuine, genuine, MISS_RATE)))
    return max(links), min(news)


def tail_threshold(values: Floats, weights: Floats, rate: float) -> float:
    """Cosine that different people exceed with probability `rate`: below 1, and never "never"."""
    start, scale, share = _tail(values, weights)
    return float(1 - np.exp(-(start + scale * log(share / rate))))


def false_match_rate(values: Floats, weights: Floats, threshold: float) -> float:
    """Estimated share of different-person pairs above the cosine `threshold`, by the same tail."""
    start, scale, share = _tail(values, weights)
    depth = float(-np.log(1 - threshold))
    if depth <= start:
        return float(weights[values > threshold].sum() / weights.sum())
    return share * exp(-(depth - start) / max(scale, 1e-9))


def _tail(values: Floats, weights: Floats) -> tuple[float, float, float]:
    """Start and scale of an exponential tail in −ln(1 − s), and the share of pairs beyond it.

    On that scale a cosine s has no upper end, as an exponential tail wants: a power law in the
    distance to 1. The tail is the upper `TAIL` share, or more where that would be too few pairs.
    """
    depth = -np.log(np.maximum(1 - values, 1e-9))
    share = max(TAIL, min(0.5, TAIL_PAIRS / max(len(values), 1)))
    start = quantile(depth, weights, 1 - share)
    beyond = (depth > start) & (weights > 0)
    if not beyond.any():
        return start, 0.0, share
    return start, float(np.average(depth[beyond] - start, weights=weights[beyond])), share


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """Smallest value that at least `share` of the weight does not exceed."""
    order = np.argsort(values)
    running = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(running, share - 1e-12)])


def _even(s: Scores) -> tuple[Floats, Floats]:
    return np.ones(len(s.genuine)), np.ones(len(s.impostor))


def _resampled(
    scores: Sequence[Scores], lines: Mapping[bool, Line], rate: float, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """Thresholds over resamples of people: a person drawn k times counts k times in each pair."""
    drawn = [
        thresholds(scores, lines, rate, [_drawn(s, rng) for s in scores]) for _ in range(RESAMPLES)
    ]
    return [link for link, _ in drawn], [new for _, new in drawn]


def _drawn(s: Scores, rng: np.random.Generator) -> tuple[Floats, Floats]:
    people = np.union1d(s.genuine_people, s.impostor_people)
    counts = np.bincount(rng.integers(len(people), size=len(people)), minlength=len(people))
    genuine = counts[np.searchsorted(people, s.genuine_people)]
    both = counts[np.searchsorted(people, s.impostor_people)]
    return genuine.astype(np.float64), both.prod(axis=1).astype(np.float64)


def _interval(values: Sequence[float]) -> list[float]:
    return [float(v) for v in np.quantile(values, (0.025, 0.975))]


def _described(s: Scores, line: Line, rate: float) -> dict[str, Any]:
    """Counts and the threshold that this source alone would give."""
    genuine, impostor = _even(s)
    link, new = thresholds([s], {s.same_contrast: line}, rate)
    return {
        "source": s.source,
        "same_contrast": s.same_contrast,
        "people": s.people(),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
        "genuine_median": float(np.median(s.genuine)),
        "genuine_lowest": float(s.genuine.min()),
        "impostor_median": float(np.median(s.impostor)),
        "impostor_highest": float(s.impostor.max()),
        "link_above_alone": link,
        "new_below_alone": new,
    }
