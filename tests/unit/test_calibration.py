"""Evidence and thresholds, on scores whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deepbrainprint.linkage.calibration import (
    Calibration,
    Scores,
    false_match_rate,
    fit,
    fit_line,
    quantile,
    tail_threshold,
)


def _scores(source="generated", *, same=True, genuine=0.8, impostor=0.2, seed=0, people=150):
    rng = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(people, k=1), axis=1)
    return Scores(
        source, same,
        rng.normal(genuine, 0.08, people), np.arange(people),
        rng.normal(impostor, 0.08, len(pairs)), pairs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def calibration():
    return fit([_scores(), _scores(same=False, genuine=0.6, seed=1)])


def test_two_normal_scores_give_the_likelihood_ratio_of_the_textbook():
    rng = np.random.default_rng(0)
    people = np.arange(20000)
    pairs = np.stack([people, people + 1], axis=1)
    made = Scores(
        "generated", True, rng.normal(1, 1, 20000), people, rng.normal(-1, 1, 20000), pairs
    )
    line = fit_line([made])  # N(1, 1) against N(−1, 1): llr = 2·x
    assert line.slope == pytest.approx(2, rel=0.05)
    assert line.centre == pytest.approx(0, abs=0.05)


def test_more_similar_scans_are_more_likely_one_person(calibration):
    evidence = [calibration.llr(s, same_contrast=True) for s in (0.1, 0.5, 0.9)]
    assert evidence == sorted(evidence)
    assert evidence[0] < 0 < evidence[2]


def test_the_same_similarity_says_more_across_contrasts_where_it_is_rarer(calibration):
    assert calibration.llr(0.5, same_contrast=False) > calibration.llr(0.5, same_contrast=True)


def test_a_power_tail_below_one_gives_back_its_own_quantiles():
    distance = np.random.default_rng(0).uniform(size=100_000) ** 0.1  # P(1 − s < d) = d^10
    even = np.ones(len(distance))
    assert tail_threshold(1 - distance, even, 1e-4) == pytest.approx(1 - 1e-4**0.1, abs=0.02)
    assert false_match_rate(1 - distance, even, 1 - 1e-5**0.1) == pytest.approx(1e-5, rel=0.6)


def test_a_threshold_for_a_cosine_is_below_one_however_few_the_pairs():
    values = np.linspace(-0.2, 0.7, 30)
    assert 0.7 < tail_threshold(values, np.ones(30), 1e-9) < 1


def test_a_rate_beyond_all_seen_pairs_is_never_nought():
    values = np.linspace(0, 0.5, 200)
    assert 0 < false_match_rate(values, np.ones(200), 0.9) < 1e-3


def test_a_quantile_counts_weights_as_repetitions():
    values, weights = np.array([3.0, 1, 2]), np.array([0.0, 2, 2])
    assert quantile(values, weights, 0.5) == 1
    assert quantile(values, weights, 0.51) == 2


def test_new_people_are_linked_in_one_search_of_a_hundred(calibration):
    fresh = _scores(seed=9, people=400)
    evidence = calibration.same.slope * (fresh.impostor - calibration.same.centre)
    searches = evidence[: 100 * (len(evidence) // 100)].reshape(-1, 100)
    assert (searches.max(axis=1) >= calibration.link_above).mean() <= 0.02


def test_known_people_are_called_new_in_one_case_of_a_hundred(calibration):
    fresh = _scores(same=False, genuine=0.6, seed=8, people=400)
    evidence = calibration.cross.slope * (fresh.genuine - calibration.cross.centre)
    assert (evidence < calibration.new_below).mean() <= 0.03


def test_when_the_thresholds_cross_what_lies_between_is_reviewed():
    apart = fit([_scores(genuine=0.95), _scores(same=False, genuine=0.95)])
    assert apart.derivation["crossed"] is True
    assert apart.new_below == apart.derivation["link_above"]["value"]
    assert apart.new_below < apart.link_above


def test_the_worst_source_sets_the_thresholds():
    both = fit([_scores(), _scores("real", impostor=0.4, people=40), _scores(same=False)])
    alone = {
        (d["source"], d["same_contrast"]): d["link_above_alone"] for d in both.derivation["scores"]
    }
    assert both.derivation["link_above"]["value"] == max(alone.values()) == alone["real", True]


def test_intervals_hold_their_value_and_narrow_with_more_people():
    few, many = (
        fit([_scores(people=n), _scores(same=False, people=n)]).derivation["link_above"]
        for n in (20, 150)
    )
    low, high = many["interval_95"]
    assert low <= many["value"] <= high
    assert high - low < few["interval_95"][1] - few["interval_95"][0]


def test_a_calibration_survives_json(calibration):
    document = json.loads(json.dumps(calibration.to_json()))
    assert Calibration.from_json(document) == calibration
