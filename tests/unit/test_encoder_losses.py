"""The two branches of the loss, against plain numpy and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder import losses  # noqa: E402


def _batch(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _numpy_barlow(first, second, redundancy):
    def white(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    c = white(first).T @ white(second) / len(first)
    total = 0.0
    for i in range(len(c)):
        for j in range(len(c)):
            total += (c[i, j] - 1) ** 2 if i == j else redundancy * c[i, j] ** 2
    return total


def _cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def _numpy_mined(vectors, people, temperature):
    s, terms = _cosines(vectors), []
    for a in range(len(s)):
        positives = [s[a, j] for j in range(len(s)) if j != a and people[j] == people[a]]
        if not positives:
            continue
        positive = max(positives)
        fit = [s[a, j] for j in range(len(s)) if people[j] != people[a] and s[a, j] < positive]
        if fit:
            p, n = np.exp(positive / temperature), np.exp(max(fit) / temperature)
            terms.append(-np.log(p / (p + n)))
    return np.mean(terms)


def _numpy_all(vectors, people, temperature):
    s, terms = np.exp(_cosines(vectors).astype(np.float64) / temperature), []
    for a in range(len(s)):
        crowd = sum(s[a, j] for j in range(len(s)) if people[j] != people[a])
        partners = [p for p in range(len(s)) if p != a and people[p] == people[a]]
        terms += [-np.log(s[a, p] / (s[a, p] + crowd)) for p in partners]
    return np.mean(terms)


def test_barlow_twins_equals_the_sum_written_out():
    first, second = _batch(1, (6, 5)), _batch(2, (6, 5))
    got = losses.barlow_twins(torch.tensor(first), torch.tensor(second), redundancy=0.0051)
    assert got.item() == pytest.approx(_numpy_barlow(first, second, 0.0051), rel=1e-4)


def test_barlow_twins_is_zero_for_equal_views_of_uncorrelated_features():
    view = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert losses.barlow_twins(view, view, redundancy=1.0).item() == pytest.approx(0, abs=1e-6)


def test_barlow_twins_of_opposite_views_is_four_for_each_feature():
    view = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert losses.barlow_twins(view, -view, redundancy=1.0).item() == pytest.approx(8, abs=1e-3)


def test_two_equal_features_cost_twice_lambda():
    view = torch.tensor([[1.0, 1], [-1, -1]])
    assert losses.barlow_twins(view, view, redundancy=0.0051).item() == pytest.approx(
        0.0102, abs=1e-5
    )


def test_the_miner_takes_the_easiest_positive_and_the_hardest_negative_below_it():
    people = torch.tensor([0, 0, 0, 1, 1])
    similarity = torch.eye(5)
    similarity[0] = torch.tensor([1.0, 0.9, 0.5, 0.95, 0.8])
    anchors, positive, negative = losses.mine(similarity, people)
    first = anchors.tolist().index(0)
    assert (positive[first].item(), negative[first].item()) == (1, 4)  # 3 is nearer than 1


def test_an_anchor_without_a_positive_is_left_out():
    anchors, _, _ = losses.mine(torch.eye(3), torch.tensor([0, 1, 2]))
    assert anchors.tolist() == []
    vectors = torch.eye(3, requires_grad=True)
    assert losses.nt_xent_mined(vectors, torch.arange(3), temperature=0.07).item() == 0


def test_mined_nt_xent_equals_the_sum_written_out():
    vectors, people = _batch(3, (9, 4)), np.array([0, 0, 1, 1, 2, 2, 2, 3, 3])
    got = losses.nt_xent_mined(torch.tensor(vectors), torch.tensor(people), temperature=0.07)
    assert got.item() == pytest.approx(_numpy_mined(vectors, people, 0.07), rel=1e-4)


def test_mined_nt_xent_by_hand():
    # anchors 0 and 1: positive at cosine 1, negative at 0: ln(1 + e^-1); 2 has no positive
    vectors = torch.tensor([[1.0, 0], [2, 0], [0, 1]])
    got = losses.nt_xent_mined(vectors, torch.tensor([0, 0, 1]), temperature=1.0)
    assert got.item() == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-5)


def test_nt_xent_with_all_negatives_equals_the_sum_written_out():
    vectors, people = _batch(4, (8, 4)), np.array([0, 0, 1, 1, 2, 2, 2, 3])
    got = losses.nt_xent_all(torch.tensor(vectors), torch.tensor(people), temperature=0.07)
    assert got.item() == pytest.approx(_numpy_all(vectors, people, 0.07), rel=1e-4)


def test_nt_xent_with_all_negatives_by_hand():
    # each scan: positive at cosine 1, two negatives at 0: ln(1 + 2/e)
    vectors = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    got = losses.nt_xent_all(vectors, torch.tensor([0, 0, 1, 1]), temperature=1.0)
    assert got.item() == pytest.approx(np.log(1 + 2 / np.e), rel=1e-5)


def test_beta_falls_linearly_from_barlow_twins_to_nt_xent():
    assert [losses.beta("linear", t) for t in (0, 0.25, 1, 2)] == [1, 0.75, 0, 0]
    assert [losses.beta("step", t) for t in (0, 0.49, 0.5, 1)] == [1, 1, 0, 0]
    assert [losses.beta("constant", t) for t in (0, 0.7, 1)] == [0.5, 0.5, 0.5]
    mixed = losses.mix(torch.tensor(100.0), torch.tensor(2.0), beta=0.75, weight=1e4)
    assert mixed.item() == pytest.approx(0.75 * 100 + 0.25 * 1e4 * 2)
