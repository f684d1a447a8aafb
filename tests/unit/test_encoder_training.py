"""The loop: schedules, checkpoints, and going on after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder import training, two_branches  # noqa: E402
from deepbrainprint.encoder.anatomy import from_brain  # noqa: E402
from deepbrainprint.encoder.checkpoint import Progress  # noqa: E402
from deepbrainprint.encoder.curves import plot_curves, read_metrics  # noqa: E402
from deepbrainprint.encoder.recipe import BRAIN, PlaneRecipe, named_recipe  # noqa: E402
from deepbrainprint.encoder.retrieval import pair_accuracy  # noqa: E402
from deepbrainprint.encoder.whitening import evening  # noqa: E402
from deepbrainprint.errors import Misconfigured  # noqa: E402

pytestmark = pytest.mark.slow  # together more than the fast tests may take

RECIPE = PlaneRecipe(
    "small", planes=(80, 90), pixel_mm=8.0, window=BRAIN, steps=4, people=4, anatomies=(2, 1),
    head_width=16, check_every=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def anatomies():
    x, y, z = np.ogrid[:182, :218, :182]
    inside = ((x - 91) / 65) ** 2 + ((y - 109) / 85) ** 2 + ((z - 90) / 60) ** 2 < 1
    textures = (128 + 90 * np.sin(x / w) * np.cos(y / w) + 0 * z for w in (7, 9))
    return [
        from_brain(str(i), np.where(inside, t, 0).astype(np.uint8)) for i, t in enumerate(textures)
    ]


def _silent(step, total, figures):
    pass


def _run(anatomies, recipe, out, report=_silent):
    out.mkdir(exist_ok=True)
    objective = two_branches.TwoBranches(recipe, anatomies, anatomies)
    return training.fit(objective, recipe, out, report)


class Killed(Exception):
    pass


def _kill_after_two(step, total, figures):
    if step == 2:
        raise Killed


PUBLISHED = replace(
    RECIPE, planes=(90,), views="augmented", optimiser="lars", negatives="mined", warmup=0.5
)


@pytest.mark.parametrize("recipe", [RECIPE, PUBLISHED], ids=["ours", "published"])
def test_a_run_killed_and_resumed_ends_as_one_that_was_not(
    anatomies, tmp_path, monkeypatch, recipe
):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    whole = _run(anatomies, recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        _run(anatomies, recipe, tmp_path / "halves", _kill_after_two)
    resumed = _run(anatomies, recipe, tmp_path / "halves")
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(one.float(), other.float(), atol=1e-5, rtol=1e-3)


def test_a_run_leaves_metrics_for_every_step_and_its_curves(anatomies, tmp_path, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    seen = []
    _run(anatomies, RECIPE, tmp_path, lambda *called: seen.append(called[:2]))
    metrics = read_metrics(tmp_path / training.METRICS)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [m["step"] for m in metrics if "held_out_accuracy" in m] == [2, 4]
    plot_curves(metrics, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_checkpoints_hold_no_pickle(anatomies, tmp_path, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    _run(anatomies, RECIPE, tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["checkpoint-4.safetensors", "checkpoint.json", "metrics.jsonl"]


def test_a_run_by_the_clock_ends_when_its_minutes_are_over():
    recipe = replace(RECIPE, minutes=2.0)
    assert training.share(Progress(7, 60.0), recipe) == pytest.approx(0.5)
    assert training.expected_steps(Progress(7, 60.0), recipe) == 14


def test_the_learning_rate_warms_up_and_ends_at_zero():
    assert training.rate(0.0, RECIPE) == pytest.approx(0.05)
    assert training.rate(0.05, RECIPE) > 0.99
    assert training.rate(1.0, RECIPE) == pytest.approx(0)


def test_augmented_views_show_one_scan_twice_and_nt_xent_sees_the_first(anatomies, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    batch = two_branches.TwoBranches(PUBLISHED, anatomies, anatomies).draw(Progress(1, 0.0), 0.25)
    assert batch.views.shape[:2] == (2, 8)
    assert batch.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.compared.tolist() == list(range(8))
    assert not torch.equal(batch.views[0], batch.views[1])


def test_scans_as_views_are_all_compared(anatomies, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    batch = two_branches.TwoBranches(RECIPE, anatomies, anatomies).draw(Progress(1, 0.0), 0.25)
    assert batch.views.shape[:2] == (2, 4)
    assert batch.owners[batch.compared % 4].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_later_batches_hold_more_siblings():
    names = [object() for _ in range(8)]
    recipe = replace(RECIPE, people=8, anatomies=(8, 2))
    early, late = (
        two_branches.choose(names, recipe, t, torch.Generator().manual_seed(0)) for t in (0.1, 0.9)
    )
    assert len(set(early)) == 8
    assert [late.count(a) for a in dict.fromkeys(late)] == [4, 4]  # siblings side by side


def test_whitening_shrinks_the_axis_along_which_scans_of_a_person_differ():
    pairs = torch.zeros(50, 2, 3)
    pairs[:, 0, 0], pairs[:, 1, 0] = 1.0, -1.0
    matrix = evening(pairs, shrinkage=0.1)
    assert matrix[0, 0] < 0.4 * matrix[1, 1]
    assert matrix.diagonal().mean().item() == pytest.approx(1)


def test_pair_accuracy_counts_both_directions():
    first, second = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 0, 2]]
    assert pair_accuracy(first, first) == 1.0
    assert pair_accuracy(first, second) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_a_step_whose_gradients_are_no_numbers_is_left_out(anatomies, tmp_path, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    objective = two_branches.TwoBranches(RECIPE, anatomies, anatomies)
    right = objective.loss

    def spoilt(batch):
        loss, figures = right(batch)
        return (loss * torch.nan if len(seen) == 1 else loss), figures

    seen = []
    monkeypatch.setattr(objective, "loss", spoilt)
    training.fit(objective, RECIPE, tmp_path, lambda *at: seen.append(at[2].get("skipped", 0)))
    assert seen == [0, 1, 0, 0]
    assert all(p.isfinite().all() for p in objective.learner.parameters())


def test_deepbrainprint_has_no_published_weights_to_adopt(anatomies, tmp_path, monkeypatch):
    monkeypatch.setattr(two_branches, "CHECK_PEOPLE", 4)
    with pytest.raises(Misconfigured, match="released no weights"):
        two_branches.TwoBranches(RECIPE, anatomies, anatomies).adopt(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["brain-id", "anatcl"])
def test_released_sizes_are_those_of_the_papers(name):
    released = named_recipe(name).released()
    assert (released.width, released.step_mm) == (64, {"brain-id": 1, "anatcl": 1.5}[name])
