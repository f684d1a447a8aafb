"""Generated people: smooth, seeded, and as varied as stated."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.anatomy import from_brain, from_labels  # noqa: E402
from deepbrainprint.encoder.recipe import BRAIN, PlaneRecipe  # noqa: E402
from deepbrainprint.encoder.splines import SplineGrid, refine, refinement  # noqa: E402
from deepbrainprint.encoder.synthesis import Draw, Scanner, _field_of_view, curves  # noqa: E402

RECIPE = PlaneRecipe("small", planes=(60, 90, 120), pixel_mm=5.0, window=BRAIN)


def _axes():
    return torch.tensor([40.0, 90]), torch.arange(20.0, 160, 7), torch.arange(20.0, 200, 9)


def _ball():
    x, y, z = np.ogrid[:182, :218, :182]
    inside = ((x - 91) / 65) ** 2 + ((y - 109) / 85) ** 2 + ((z - 90) / 60) ** 2 < 1
    texture = 120 + 60 * np.sin(x / 7) * np.cos(y / 9) * np.sin(z / 8)
    return np.where(inside, texture, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def anatomy():
    return from_brain("ball", _ball())


def _scan(anatomy, seed, **draw):
    generator = torch.Generator().manual_seed(seed)
    return Scanner(RECIPE).scan([anatomy] * 4, scans=2, draw=Draw(generator, **draw))


def test_a_spline_grid_reproduces_positions_exactly():
    z, x, y = _axes()
    grid = SplineGrid((z, x, y), spacing=15)
    placed = grid.evaluate(grid.positions[None])[0]
    expected = torch.stack(torch.meshgrid(z, x, y, indexing="ij"), dim=-1)[..., [1, 2, 0]]
    torch.testing.assert_close(placed, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("spacing", [15, 30])
def test_noise_on_a_spline_grid_has_unit_deviation(spacing):
    grid = SplineGrid(_axes(), spacing=spacing)
    field = grid.draw(400, torch.Generator().manual_seed(0))
    assert field.std().item() == pytest.approx(1, abs=0.03)


def test_refining_the_control_points_does_not_change_the_field():
    coarse, fine = SplineGrid(_axes(), spacing=30), SplineGrid(_axes(), spacing=15)
    control = coarse.noise(2, 3, torch.Generator().manual_seed(0))
    same = fine.evaluate(refine(control, refinement(coarse, fine)))
    torch.testing.assert_close(same, coarse.evaluate(control), atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_people(anatomy):
    assert torch.equal(_scan(anatomy, 5), _scan(anatomy, 5))
    assert not torch.equal(_scan(anatomy, 5), _scan(anatomy, 6))


def test_two_mild_scans_of_one_person_are_more_alike_than_two_siblings(anatomy):
    scans = _scan(anatomy, 1, severity=0.0).flatten(2)  # (4, 2, pixels)
    within = torch.corrcoef(scans[0])[0, 1]
    between = torch.corrcoef(scans[:2, 0])[0, 1]
    assert within > between + 0.03


def test_the_fields_of_people_deviate_by_what_is_stated(anatomy):
    scanner = Scanner(RECIPE)
    places = scanner._places(40, 1, Draw(torch.Generator().manual_seed(2), severity=0.0))
    spread = (places - places.mean(dim=0)).std(dim=0)[..., 2].mean()
    # 2.0 and 1.2 mm of shape, up to 2 mm of shift and some scaling and turning in either way
    assert 2.3 < spread < 3.6


def test_a_label_map_can_be_scanned_in_any_contrast():
    labels = np.where(_ball() > 120, 2, 3).astype(np.uint8) * (_ball() > 0)
    scans = _scan(from_labels("map", labels), 3)
    assert scans.shape == (4, 2, 3, 32, 38)
    assert torch.isfinite(scans).all()


def test_curves_are_the_identity_when_mild_and_differ_when_severe():
    generator = torch.Generator().manual_seed(0)
    identity = torch.linspace(0, 1, 256).expand(5, 256)
    torch.testing.assert_close(curves(5, generator, 0.0), identity)
    severe = curves(300, generator, 1.0)
    falling = (severe[:, -1] < severe[:, 0]).float().mean().item()
    assert 0.3 < falling < 0.6
    assert severe.min() > -1e-6
    assert severe.max() < 1 + 1e-6


def test_shared_protocols_give_everyone_the_same_contrast(anatomy):
    upside_down = torch.linspace(1, 0, 256).expand(2, 256)
    usual = torch.linspace(0, 1, 256).expand(2, 256)
    plain = _scan(anatomy, 4, severity=0.0, protocols=usual)
    inverted = _scan(anatomy, 4, severity=0.0, protocols=upside_down)
    inside = plain.flatten() > 0.5
    pair = torch.stack([plain.flatten()[inside], inverted.flatten()[inside]])
    assert torch.corrcoef(pair)[0, 1] < -0.8


def test_some_severe_scans_are_cut_at_one_side_and_no_mild_one_is():
    def share_cut(severity):
        draw = Draw(torch.Generator().manual_seed(1), severity)
        field = _field_of_view(torch.ones(500, 3, 32, 38), draw)
        return (field.flatten(1).min(dim=1).values == 0).float().mean().item()

    assert share_cut(0.0) == 0
    assert 0.08 < share_cut(1.0) < 0.2
