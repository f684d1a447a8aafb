"""AnatCL's objective: what it draws, what it learns from and what it checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder import anatcl  # noqa: E402
from deepbrainprint.encoder.anatcl import AnatClObjective, correlation, spread  # noqa: E402
from deepbrainprint.encoder.anatomy import from_labels  # noqa: E402
from deepbrainprint.encoder.checkpoint import Progress  # noqa: E402
from deepbrainprint.encoder.recipe import AnatClRecipe  # noqa: E402
from deepbrainprint.encoder.synthesis import Draw  # noqa: E402

RECIPE = AnatClRecipe("small", people=4, step_mm=8, width=4, steps=8)


def _labels(folds):
    x, y, z = np.ogrid[:182, :218, :182]
    r = np.sqrt(((x - 91) / 68) ** 2 + ((y - 109) / 84) ** 2 + ((z - 78) / 68) ** 2)
    r = r + 0.04 * np.sin(x / folds) * np.sin(y / folds) * np.sin(z / folds)
    return np.select([r < 0.2, r < 0.75, r < 0.95, r < 1.02], [4, 2, 3, 24]).astype(np.uint8)


@pytest.fixture(scope="module")
def anatomies():
    return [from_labels(f"folds of {folds}", _labels(folds)) for folds in (7, 9)]


@pytest.fixture(scope="module")
def objective(anatomies):
    return _objective(anatomies)


def _objective(anatomies, **changes):
    patch = pytest.MonkeyPatch()
    patch.setattr(anatcl, "CHECK_PEOPLE", 8)
    patch.setattr(anatcl, "NORM_PEOPLE", 16)
    recipe = replace(RECIPE, **changes)
    made = AnatClObjective(recipe, anatomies, anatomies)
    patch.undo()
    return made


def test_a_batch_depends_on_the_step_and_the_share_of_the_run_alone(objective):
    one, other = objective.draw(Progress(3, 1.0), 0.2), objective.draw(Progress(3, 99.0), 0.2)
    assert torch.equal(one.views, other.views)
    assert torch.equal(one.anatomy, other.anatomy)
    assert not torch.equal(one.views, objective.draw(Progress(4), 0.2).views)


def test_a_batch_is_two_scans_of_every_person_as_the_backbone_reads_them(objective):
    batch = objective.draw(Progress(), 0.5)
    assert batch.views.shape[:2] == (2, 4)
    shape = objective.network.reader(torch.zeros(1, *RECIPE.form.shape, dtype=torch.uint8)).shape
    assert batch.views.shape[2:] == shape[1:]


def test_scans_of_new_people_are_as_the_backbone_reads_them(objective, anatomies):
    scans = objective.scan(anatomies, scans=3, draw=Draw(torch.Generator().manual_seed(0)))
    features = objective.network.backbone(scans.flatten(0, 1))
    assert features.shape == (6, 512)


def test_everyone_is_most_like_themselves_and_the_closer_in_age_the_more_alike(objective):
    batch = objective.draw(Progress(1), 0.5)
    for alike in (batch.anatomy, batch.age):
        torch.testing.assert_close(alike.diagonal(), torch.ones(4))
        torch.testing.assert_close(alike, alike.T)
        assert alike[~torch.eye(4, dtype=torch.bool)].max() < 1


def test_the_kernels_widths_are_in_years_and_deviations(objective):
    crowd = anatcl.Crowd(
        torch.empty(0), torch.tensor([40.0, 42.0]), objective._norms.mean + torch.zeros(2, 1, 1)
    )
    crowd.descriptors[1] += objective._norms.deviation / 5
    anatomy, age = objective._alike(crowd)
    assert age[0, 1].item() == pytest.approx(np.exp(-0.5), rel=1e-4)  # 2 years at a width of 2
    assert anatomy[0, 1].item() == pytest.approx(np.exp(-0.5), rel=1e-2)  # a fifth of a deviation


def test_the_loss_is_mixed_from_anatomy_and_age_and_moves_the_backbone(objective):
    batch = objective.draw(Progress(2), 0.5)
    loss, figures = objective.loss(batch)
    mixed = 0.3 * figures["age_loss"] + 0.7 * figures["anatomy_loss"]
    assert figures["loss"] == pytest.approx(mixed, rel=1e-4)
    loss.backward()
    assert objective.network.backbone.encoder.conv1.weight.grad.abs().max() > 0
    objective.learner.zero_grad()


@pytest.mark.parametrize("elapsed", [0.0, 1.0])
def test_no_batch_makes_a_loss_that_is_no_number(objective, elapsed):
    for step in range(6):
        loss, _ = objective.loss(objective.draw(Progress(10 + step), elapsed))
        assert torch.isfinite(loss)


def test_the_check_tells_four_figures_of_held_out_people_and_repeats_itself(objective):
    first, again = objective.check(), objective.check()
    assert first == again
    assert set(first) == {
        "held_out_accuracy",
        "held_out_loss",
        "held_out_age_correlation",
        "held_out_anatomy_correlation",
    }
    assert 0 <= first["held_out_accuracy"] <= 1


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_of_a_batch(anatomies):
    objective = _objective(anatomies, descriptor="global")
    batch = objective.draw(Progress(), 0.0)
    optimiser = torch.optim.AdamW(objective.learner.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3


def test_siblings_stand_together_and_anatomies_are_spread_evenly():
    assert spread(["a", "b"], 5) == ["a", "a", "a", "b", "b"]


def test_correlation_leaves_out_a_person_with_themselves():
    one = torch.tensor([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    assert correlation(one, 2 * one + torch.eye(3) * 50) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
