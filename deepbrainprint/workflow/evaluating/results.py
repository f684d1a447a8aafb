"""From matrices of similarities to figures with intervals, and to the hardest cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np

from deepbrainprint.linkage import evaluation
from deepbrainprint.linkage.density import threshold
from deepbrainprint.linkage.evaluation import STANDARD, Floats, Mask, Searches, Whole
from deepbrainprint.workflow.evaluating.measuring import Measured
from deepbrainprint.workflow.known.manifest import ListedScan, people_of

FPIR = 0.01
FEWEST = 2  # people in a group that is worth a line
HARDEST = 6  # cases of each method
YEARS = (0.0, 1.0, 5.0, np.inf)  # edges of how long apart two scans are


@dataclass(frozen=True)
class Case:
    """Two scans on which a method errs, or nearly."""

    first: int  # place in the list of scans
    second: int
    similarity: float
    words: str


@dataclass(frozen=True)
class Group:
    """Searches that are measured by themselves: whose, among which, and which mates they seek."""

    name: str
    probes: Mask | None = None  # (N,); None: all
    held: Mask | None = None
    pairs: Mask | None = None  # (N, N)

    def searches(self, matrix: Floats, people: Whole) -> Searches:
        """Return these searches by one method's scores (N, N)."""
        return Searches.among(matrix, people, self.probes, self.held, self.pairs)


def groups(scans: Sequence[ListedScan]) -> Iterator[Group]:
    """Yield every group that is measured by itself."""
    yield Group("all")
    contrasts = np.array([scan.contrast.value for scan in scans])
    for probe, held in product(dict.fromkeys(contrasts.tolist()), repeat=2):
        yield Group(f"{probe} → {held}", contrasts == probe, contrasts == held)
    datasets = np.array([scan.dataset for scan in scans])
    if len(set(datasets.tolist())) > 1:
        for name in dict.fromkeys(datasets.tolist()):
            yield Group(f"dataset {name or 'unnamed'}", datasets == name)
    yield from _by_scanner(scans)
    yield from _by_years(scans)


def _by_scanner(scans: Sequence[ListedScan]) -> Iterator[Group]:
    """Same and other scanner, where the manifest names them."""
    scanners = np.array([scan.scanner for scan in scans])
    if len(set(scanners.tolist())) > 1:
        named = scanners != ""
        both = named[:, None] & named[None, :]
        alike = scanners[:, None] == scanners[None, :]
        yield Group("same scanner", pairs=both & alike)
        yield Group("another scanner", pairs=both & ~alike)


def _by_years(scans: Sequence[ListedScan]) -> Iterator[Group]:
    """How long apart two scans are, where the manifest says when they were made."""
    years = np.array([np.nan if scan.years is None else scan.years for scan in scans])
    apart = np.abs(years[:, None] - years[None, :])
    if np.nanmax(apart, initial=0.0) > 0:
        for low, high in pairwise(YEARS):
            words = f"{low:g} to {high:g} years apart" if high < np.inf else f"over {low:g} years"
            yield Group(words, pairs=(apart >= low) & (apart < high))


def method_results(measured: Measured, scans: Sequence[ListedScan]) -> dict[str, Any]:
    """Everything about one method, as JSON takes it."""
    people = people_of(scans)
    lead = measured.matrices[measured.lead]
    lines = [_figures(group.name, group.searches(lead, people)) for group in groups(scans)]
    return {
        "version": measured.version,
        "score": measured.lead,
        "bytes_per_entry": measured.bytes_per_entry,
        "seconds_per_scan": measured.seconds_per_scan,
        "seconds_per_comparison": measured.seconds_per_comparison,
        "groups": [line for line in lines if line["people"] >= FEWEST],
        "scores": {
            name: _standard(Searches.among(matrix, people))
            for name, matrix in measured.matrices.items()
        },
    }


def _figures(name: str, searches: Searches) -> dict[str, Any]:
    head = {
        "group": name,
        "probes": len(searches.people),
        "people": len(np.unique(searches.people)),
    }
    if not head["probes"] or not searches.others.any():
        return head | {"people": 0}
    right, wrong = evaluation.genuine(searches), evaluation.impostor(searches)
    cut, missed = evaluation.open_set(searches, FPIR)
    return (
        head
        | _standard(searches)
        | {
            "equal_error_rate": evaluation.equal_error_rate(right, wrong),
            "fnir_at_fpir_1_percent": asdict(evaluation.with_interval(missed, searches.people)),
            "threshold_at_fpir_1_percent": cut,
            "by_density": _by_density(right, wrong),
        }
    )


def _standard(searches: Searches) -> dict[str, Any]:
    return {
        name: asdict(evaluation.with_interval(score(searches), searches.people))
        for name, score in STANDARD.items()
    }


def _by_density(right: Floats, wrong: Floats) -> dict[str, float] | None:
    """Return the threshold of arXiv 2602.10043 and its errors on the same pairs."""
    try:
        cut = threshold(right, wrong)
    except ValueError:
        return None
    return {
        "threshold": cut,
        "missed": float((right <= cut).mean()),
        "false": float((wrong > cut).mean()),
    }


def pairs_of(matrix: Floats, scans: Sequence[ListedScan]) -> tuple[Floats, Floats]:
    """Return the scores of pairs of one person and of two, each pair once."""
    people = people_of(scans)
    first, second = np.triu_indices(len(scans), k=1)
    same = people[first] == people[second]
    values = matrix[first, second]
    return values[same], values[~same]


def genuine_pairs(scans: Sequence[ListedScan], most: int) -> list[tuple[int, int]]:
    """Return a pair of scans of each of the first `most` people who have two."""
    people = people_of(scans)
    found = [np.flatnonzero(people == person)[:2] for person in np.unique(people)]
    return [(int(pair[0]), int(pair[1])) for pair in found if len(pair) == 2][:most]


def hardest(matrix: Floats, scans: Sequence[ListedScan]) -> list[Case]:
    """Return searches whose right scan came latest, then the most alike scans of two people."""
    people = people_of(scans)
    searches = Searches.among(matrix, people)
    ranks = searches.ranks()
    asked = np.flatnonzero([(people == person).sum() > 1 for person in people])
    cases = []
    for place in np.argsort(-ranks, kind="stable")[: HARDEST // 2].tolist():
        probe, row = int(asked[place]), searches.similarity[place]
        mate = int(np.where(searches.mates[place], row, -np.inf).argmax())
        words = f"one person; found at rank {ranks[place]}"
        cases.append(Case(probe, mate, float(matrix[probe, mate]), words))
    different = np.triu(people[:, None] != people[None, :], k=1)
    first, second = np.nonzero(different)
    order = np.argsort(-matrix[first, second], kind="stable")[: HARDEST - HARDEST // 2]
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        cases.append(Case(i, j, float(matrix[i, j]), "two people"))
    return cases
