"""Figures of retrieval, against cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.linkage import evaluation
from deepbrainprint.linkage.evaluation import Searches


def symmetric(size, pairs):
    matrix = np.eye(size)
    for (i, j), value in pairs.items():
        matrix[i, j] = matrix[j, i] = value
    return matrix


# 0, 1 and 2 are one person, 3 and 4 another, 5 stands alone
PEOPLE = np.array([7, 7, 7, 8, 8, 9])
MATRIX = symmetric(
    6,
    {
        (0, 1): 0.9, (0, 2): 0.5, (0, 3): 0.6, (0, 4): 0.1, (0, 5): 0.2,
        (1, 2): 0.8, (1, 3): 0.3, (1, 4): 0.2, (1, 5): 0.1,
        (2, 3): 0.85, (2, 4): 0.82, (2, 5): 0.81,
        (3, 4): 0.4, (3, 5): 0.7, (4, 5): 0.1,
    },
)  # fmt: skip


@pytest.fixture
def searches():
    return Searches.among(MATRIX, PEOPLE)


def test_a_scan_never_finds_itself_and_one_without_mates_does_not_ask(searches):
    assert searches.people.tolist() == [7, 7, 7, 8, 8]
    assert not (searches.mates | searches.others)[np.arange(5), np.arange(5)].any()


def test_ranks_count_the_scans_of_others_ahead(searches):
    assert searches.ranks().tolist() == [1, 1, 4, 4, 2]


def test_recall_and_average_precision_are_those_of_the_paper(searches):
    # first three of each: 0 → 1 3 2, 1 → 0 2 3, 2 → 3 4 5, 3 → 2 5 0, 4 → 2 3 1
    assert evaluation.recall(searches, 3).tolist() == [1, 1, 0, 0, 1]
    found = evaluation.average_precision(searches, 3)
    assert found == pytest.approx([(1 + 2 / 3) / 2, 1, 0, 0, 1 / 2])


def test_average_precision_divides_by_k_where_there_are_more_mates():
    people = np.zeros(6, dtype=int)
    people[5] = 1
    searches = Searches.among(np.ones((6, 6)), people)
    assert evaluation.average_precision(searches, 3)[0] == pytest.approx(1)


def test_equal_similarity_of_somebody_else_counts_against_us():
    people = np.array([0, 0, 1])
    assert Searches.among(np.ones((3, 3)), people).ranks().tolist() == [2, 2]


def test_probes_and_gallery_can_be_two_contrasts():
    contrast = np.array([0, 1, 1, 0, 1, 1])
    searches = Searches.among(MATRIX, PEOPLE, probes=contrast == 0, held=contrast == 1)
    assert searches.people.tolist() == [7, 8]
    assert searches.mates.sum(axis=1).tolist() == [2, 1]
    assert searches.ranks().tolist() == [1, 3]


def test_the_equal_error_rate_of_crowds_that_overlap_by_a_known_part():
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(2, 1, 20000), rng.normal(0, 1, 20000)
    assert evaluation.equal_error_rate(right, wrong) == pytest.approx(0.1587, abs=0.01)
    assert evaluation.equal_error_rate(right + 20, wrong) == pytest.approx(0, abs=1e-4)


def test_an_open_search_misses_who_is_below_the_threshold_or_behind_somebody():
    similarity = np.array([[0.9, 0.2], [0.5, 0.6], [0.55, 0.1], [0.95, 0.3]])
    mates = np.array([[True, False]] * 4)
    searches = Searches(similarity, mates, ~mates, np.arange(4))
    threshold, missed = evaluation.open_set(searches, fpir=0.25)
    assert threshold == 0.3  # one of four searches for nobody finds somebody above it
    assert missed.tolist() == [0, 1, 0, 0]
    threshold, missed = evaluation.open_set(searches, fpir=0.0)
    assert threshold == 0.6
    assert missed.tolist() == [0, 1, 1, 0]


def test_an_interval_is_over_people_not_over_scans():
    values = np.repeat([1.0, 0.0], [90, 10])
    many = evaluation.with_interval(values, np.arange(100))
    few = evaluation.with_interval(values, np.repeat(np.arange(10), 10))
    assert many.value == few.value == 0.9
    assert few.high - few.low > 2 * (many.high - many.low)
    assert (few.probes, few.people) == (100, 10)


def test_no_error_seen_is_not_no_error():
    figure = evaluation.with_interval(np.ones(20), np.arange(20))
    assert (figure.value, figure.high) == (1, 1)
    assert 0.85 < figure.low < 0.95
    assert evaluation.with_interval(np.zeros(20), np.arange(20)).low == 0


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        values = (rng.random(150) < 0.8).astype(float)
        figure = evaluation.with_interval(values, np.arange(150), seed=trial, resamples=300)
        covered += figure.low <= 0.8 <= figure.high
    assert covered / 200 == pytest.approx(0.94, abs=0.05)


def test_nobody_asked_has_no_figure():
    empty = evaluation.with_interval(np.zeros(0), np.zeros(0, dtype=int))
    assert np.isnan(empty.value)
    assert empty.people == 0
