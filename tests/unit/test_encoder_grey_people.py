"""Generated people as tissues: they age, and their scans differ less than they do."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.anatomy import Anatomy, from_labels  # noqa: E402
from deepbrainprint.encoder.grey_people import GreyScanner  # noqa: E402
from deepbrainprint.encoder.grey_scan import Chance, ScanRules, segmented  # noqa: E402
from deepbrainprint.encoder.recipe import box_cubes  # noqa: E402
from deepbrainprint.encoder.splines import SplineGrid  # noqa: E402
from deepbrainprint.encoder.synthesis import Draw  # noqa: E402
from deepbrainprint.encoder.tissue_base import FLUID, GREY, WHITE, blurred, tissue_base  # noqa: E402

STEP = 5.0


def _head():
    """Labels of a brain: folded grey around white around ventricles, in a rim of fluid."""
    x, y, z = np.ogrid[:182, :218, :182]
    r = np.sqrt(((x - 91) / 68) ** 2 + ((y - 109) / 84) ** 2 + ((z - 78) / 68) ** 2)
    folds = 0.03 * np.sin(x / 5) * np.sin(y / 6) * np.sin(z / 5)
    inner = np.sqrt(((np.abs(x - 91) - 10) / 7) ** 2 + ((y - 108) / 30) ** 2 + ((z - 84) / 10) ** 2)
    labels = np.where(r < 1, 24, 0)
    labels = np.where(r + folds < 0.95, 3, labels)
    labels = np.where(r + folds < 0.82, 2, labels)
    return np.where(inner < 1, 4, labels).astype(np.uint8)


@pytest.fixture(scope="module")
def anatomy():
    return from_labels("head", _head())


@pytest.fixture(scope="module")
def scanner():
    return GreyScanner(STEP)


def _people(scanner, anatomy, count=2, seed=1):
    return scanner.people([anatomy] * count, torch.Generator().manual_seed(seed))[0]


def _ml(shares):
    return shares.sum(dim=(2, 3, 4)) * STEP**3 / 1000


def _ventricles_ml(shares):
    """Fluid within 20 to 30 mm of where the ventricles are."""
    x, y, z = (
        (STEP * (torch.arange(a, b) + 0.5) - 0.5 - middle).abs() < reach
        for (a, b), middle, reach in zip(box_cubes(STEP), (91, 108, 84), (25, 40, 22), strict=True)
    )
    inside = z[:, None, None] & x[None, :, None] & y[None, None, :]
    return (shares[:, FLUID] * inside).sum(dim=(1, 2, 3)) * STEP**3 / 1000


def test_an_older_person_has_less_grey_matter_and_wider_ventricles(scanner, anatomy):
    people = _people(scanner, anatomy)
    young, old = (scanner.shares(people.at(torch.full((2,), age))) for age in (25.0, 85.0))
    assert (_ml(old)[:, GREY] < 0.92 * _ml(young)[:, GREY]).all()
    assert (_ventricles_ml(old) > 1.3 * _ventricles_ml(young)).all()
    torch.testing.assert_close(_ml(old).sum(dim=1), _ml(young).sum(dim=1), rtol=0.02, atol=0)


def test_ageing_takes_the_cortex_from_outside(scanner, anatomy):
    people = _people(scanner, anatomy)
    young, old = (scanner.shares(people.at(torch.full((2,), age))) for age in (25.0, 85.0))
    lost = (_ml(young) - _ml(old))[:, [GREY, WHITE]]
    assert (lost[:, 0] > 2 * lost[:, 1]).all()


def test_people_of_one_anatomy_are_of_all_ages_and_differ(scanner, anatomy):
    people = _people(scanner, anatomy, count=12)
    assert people.ages.min() < 35
    assert people.ages.max() > 70
    assert 0.3 < torch.corrcoef(torch.stack([people.ages, people.walls]))[0, 1] < 1


def test_the_same_seed_gives_the_same_people_and_scans(scanner, anatomy):
    def scans(seed):
        generator = torch.Generator().manual_seed(seed)
        people = scanner.people([anatomy], generator)[0]
        return scanner.scan(people, scans=2, draw=Draw(generator))

    assert torch.equal(scans(5), scans(5))
    assert not torch.equal(scans(5), scans(6))


def test_two_mild_scans_of_one_person_are_more_alike_than_two_siblings(scanner, anatomy):
    draw = Draw(torch.Generator().manual_seed(2), severity=0.0)
    scans = scanner.scan(_people(scanner, anatomy), scans=2, draw=draw).flatten(2)
    within, between = torch.corrcoef(scans[0])[0, 1], torch.corrcoef(scans[:, 0])[0, 1]
    assert within > between + 0.05


@pytest.mark.parametrize("severity", [0.0, 1.0, 1.8])
def test_scans_are_shares_however_severe_their_errors(scanner, anatomy, severity):
    draw = Draw(torch.Generator().manual_seed(3), severity)
    scans = scanner.scan(_people(scanner, anatomy), scans=3, draw=draw)
    assert scans.shape[:2] == (2, 3)
    assert scans.min() >= 0
    assert scans.max() <= 1
    assert scans.mean() > 0.02


def test_an_anatomy_of_intensities_is_refused():
    with pytest.raises(ValueError, match="no tissues"):
        tissue_base(Anatomy("t1w", torch.zeros(2, 182, 91, 109), painted=False))


def test_the_pull_points_into_the_ventricles_from_both_sides(anatomy):
    pull = tissue_base(anatomy).pull.float()
    z, y = 42, 54  # through both ventricles, whose centres lie at x = 81 and x = 101 mm
    assert pull[0, z, 50 + 6, y] < -0.3  # from the right wall, to the left
    assert pull[0, z, 40 - 6, y] > 0.3
    assert pull[:, z, 15, y].abs().max() < 0.05  # the cortex stays
    assert pull.norm(dim=0).max() == pytest.approx(1, abs=0.01)


def test_blurring_keeps_the_sum_and_has_the_stated_width():
    point = torch.zeros(1, 31, 31, 31)
    point[0, 15, 15, 15] = 1
    spot = blurred(point, 2.0)[0]
    assert spot.sum().item() == pytest.approx(1, abs=1e-4)
    place = torch.arange(31.0) - 15
    for profile in (spot.sum((1, 2)), spot.sum((0, 2)), spot.sum((0, 1))):
        assert (profile * place**2).sum().sqrt().item() == pytest.approx(2, rel=0.03)


def _errors(count=400, planes=40, **only):
    """Maps of a block that is half grey, half of that exposed, with only the named errors."""
    none = dict.fromkeys(ScanRules.__dataclass_fields__, 0.0)
    rules = ScanRules(**(none | only))
    axes = (torch.arange(planes) * 3.0, torch.arange(4) * 3.0, torch.arange(4) * 3.0)
    grey = torch.full((count, planes, 4, 4), 0.5)
    chance = Chance(torch.Generator().manual_seed(4), 1.0, count)
    return segmented(grey, grey / 2, SplineGrid(axes, spacing=60), rules, chance)


def test_without_errors_a_map_is_what_is_there():
    torch.testing.assert_close(_errors(count=2), torch.full((2, 40, 4, 4), 0.5))


def test_inner_and_outer_grey_are_lost_by_what_is_stated():
    inner = _errors(inner_loss=0.4).mean(dim=(1, 2, 3))
    assert inner.min() == pytest.approx(0.5 - 0.4 * 0.25, abs=0.002)
    assert inner.mean() == pytest.approx(0.5 - 0.2 * 0.25, abs=0.003)
    outer = _errors(outer_loss=0.8).mean(dim=(1, 2, 3))
    assert outer.min() == pytest.approx(0.5 - 0.8 * 0.25, abs=0.003)


def test_noise_and_shading_are_as_strong_as_stated():
    noise = _errors(noise=0.1)
    assert noise.flatten(1).std(dim=1).max() == pytest.approx(0.1, rel=0.2)
    gain = (_errors(shading=0.2) / 0.5).log()
    assert gain.std() == pytest.approx(0.2 / 3**0.5, rel=0.1)  # strength is uniform up to 0.2


def test_some_fields_of_view_end_early_at_either_end():
    seen = _errors(cut_share=0.25, cut=0.1, count=2000)[:, :, 0, 0] > 0
    below, above = ~seen[:, 0], ~seen[:, -1]
    assert below.float().mean() == pytest.approx(0.25, abs=0.03)
    assert above.float().mean() == pytest.approx(0.25, abs=0.03)
    assert (~seen[:, :20]).sum(dim=1).max() == 4
