"""Brain-ID's generator: deformations, contrasts and scans as the paper's code states them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder import mild_to_severe as generator_of  # noqa: E402
from deepbrainprint.encoder.anatomy import T1W_LEVELS, from_brain, from_labels  # noqa: E402
from deepbrainprint.encoder.lattice import LINEAR, Deforming, Lattice, draw_deformation  # noqa: E402
from deepbrainprint.encoder.mild_to_severe import (  # noqa: E402
    MILD,
    SEVERE,
    Look,
    Tissue,
    bag,
    between,
    bias_field,
    draw_subject,
    draw_view,
    paint,
    smoothed,
    tissue_of,
)

COARSE = Lattice(8)
STILL = Deforming(degrees=0, shear=0, scale=0, displacement_mm=0)


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def _head():
    """White matter in grey matter in fluid, as FreeSurfer numbers (182, 218, 182)."""
    x, y, z = np.ogrid[:182, :218, :182]
    radius = np.sqrt(((x - 90.5) / 72) ** 2 + ((y - 108) / 90) ** 2 + ((z - 80) / 72) ** 2)
    return np.select([radius < 0.7, radius < 0.9, radius < 1], [2, 3, 24], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def labelled():
    return from_labels("head", _head())


@pytest.fixture(scope="module")
def scanned():
    levels = np.zeros(256, dtype=np.uint8)
    levels[[2, 3, 24]] = [200, 120, 45]
    return from_brain("head", levels[_head()])


@pytest.fixture(scope="module")
def tissue(labelled):
    return tissue_of(labelled, COARSE.positions())


def _deformation(seed=0, deforming=None, lattice=COARSE):
    return draw_deformation(lattice, _seeded(seed), deforming or Deforming())


def test_the_target_of_a_label_map_is_1_in_white_matter(tissue):
    white = tissue.shares[2] > 0.999
    assert tissue.target[white].mean() == pytest.approx(1, abs=1e-3)
    grey = tissue.shares[1] > 0.999
    assert tissue.target[grey].mean() == pytest.approx(T1W_LEVELS[1] / T1W_LEVELS[2], abs=1e-3)
    assert tissue.target[tissue.mask == 0].abs().max() == 0


def test_the_target_of_a_real_scan_is_its_intensity_over_white_matter(labelled, scanned):
    tissue = tissue_of(scanned, COARSE.positions())
    shares = tissue_of(labelled, COARSE.positions()).shares
    assert tissue.target[shares[2] > 0.999].mean() == pytest.approx(1, abs=0.01)
    assert tissue.target[shares[1] > 0.999].mean() == pytest.approx(120 / 200, abs=0.01)


def test_fluid_of_a_real_scan_is_found_by_its_darkness(labelled, scanned):
    tissue = tissue_of(scanned, COARSE.positions())
    shares = tissue_of(labelled, COARSE.positions()).shares
    assert tissue.fluid[shares[0] > 0.99].mean() > 0.9
    assert tissue.fluid[shares[2] > 0.99].max() < 0.01


def test_tissues_are_painted_within_the_stated_ranges(tissue):
    lattice = Lattice(1)  # a cube of which is one voxel of texture
    white = tissue.shares[2] > 0.999
    painted = [paint(tissue, lattice, _seeded(s))[0][white] for s in range(150)]
    means = torch.stack([p.mean() for p in painted])
    assert 25 < means.min() < 40
    assert 210 < means.max() < 225
    assert means.mean() == pytest.approx(125, abs=15)
    spreads = torch.stack([p.std() for p, m in zip(painted, means, strict=True) if m > 90])
    assert 4 < spreads.min() < 8
    assert 21 < spreads.max() < 27


def test_a_coarse_lattice_averages_the_texture_of_its_voxels(tissue):
    white = tissue.shares[2] > 0.999
    fine = torch.stack([paint(tissue, Lattice(1), _seeded(s))[0][white].std() for s in range(40)])
    coarse = torch.stack([paint(tissue, Lattice(4), _seeded(s))[0][white].std() for s in range(40)])
    assert (fine / coarse).median() == pytest.approx(8, rel=0.05)


def test_a_real_scan_gets_another_contrast_each_time(scanned):
    tissue = tissue_of(scanned, COARSE.positions())
    first, second = (paint(tissue, COARSE, _seeded(s))[0] for s in (1, 2))
    assert first[tissue.mask > 0.999].min() >= 25
    assert first.max() <= 225
    inside = tissue.mask > 0.999
    assert torch.corrcoef(torch.stack([first[inside], second[inside]]))[0, 1] < 0.9


def test_a_given_curve_is_the_contrast_of_label_maps_too(tissue):
    falling = torch.linspace(1, 0, 256)
    painted, fluid = paint(tissue, COARSE, _seeded(), falling)
    dark, bright = (painted[tissue.shares[i] > 0.999].mean() for i in (2, 0))
    assert dark < 60
    assert bright > 180
    assert fluid == pytest.approx(float(bright), abs=2)


@pytest.mark.parametrize(("corruption", "low", "high"), [(MILD, 0, 0.02), (SEVERE, 0.1, 0.6)])
def test_bias_fields_deviate_as_stated(corruption, low, high):
    logs = torch.stack([bias_field(COARSE, corruption, _seeded(s)).log() for s in range(80)])
    expected = ((low**2 + low * high + high**2) / 3) ** 0.5 * LINEAR  # of an evenly drawn deviation
    assert (logs**2).mean() ** 0.5 == pytest.approx(expected, rel=0.2)


def test_severe_bias_fields_change_within_a_shorter_way():
    def roughness(corruption):
        logs = torch.stack([bias_field(COARSE, corruption, _seeded(s)).log() for s in range(30)])
        return logs.diff(dim=1).std() / logs.std()

    assert roughness(SEVERE) > 1.5 * roughness(MILD)


def test_the_bag_lies_around_the_brain_and_is_1_to_21_mm_thick(tissue):
    bags = torch.stack([bag(tissue.mask, Lattice(8), SEVERE, _seeded(s)) for s in range(40)])
    assert (bags[:, tissue.mask > 0.999] < 1e-6).all()
    _, x, y = (size // 2 for size in COARSE.shape)
    upwards = bags[:, :, x, y].sum(dim=1) * 8 / 2  # above and below
    assert upwards.min() > 0
    assert upwards.max() < 21 + 8
    assert 8 < upwards.mean() < 15  # between the smaller and the larger of two even draws


def test_corruption_goes_from_mild_to_severe():
    assert between(0) == MILD
    assert between(1.0) == between(1.7) == SEVERE
    assert between(0.5).noise == pytest.approx((2.5, 7.51))


def test_severe_views_have_fluid_around_the_brain_more_often(tissue, monkeypatch):
    bags = []
    monkeypatch.setattr(generator_of, "bag", lambda *_: bags.append(1) or torch.zeros(COARSE.shape))
    counts = []
    for corruption in (MILD, SEVERE):
        bags.clear()
        for seed in range(150):
            draw_view(tissue, COARSE, Look(corruption), _seeded(seed))
        counts.append(len(bags) / 150)
    assert counts[0] == pytest.approx(0.1, abs=0.06)
    assert counts[1] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("corruption", "spread"), [(MILD, 0.01), (SEVERE, 0.1)])
def test_gamma_deviates_as_stated(corruption, spread, monkeypatch):
    # one voxel of 150 beside one of 300: their ratio after γ is 2^−γ
    two = torch.zeros(COARSE.shape)
    two[5, 5, 5], two[5, 5, 6] = 150, 300
    whole = Tissue(None, two, two * 0, two * 0 + 1, two)
    monkeypatch.setattr(generator_of, "paint", lambda *_: (two, 0.0))
    monkeypatch.setattr(generator_of, "bias_field", lambda *_: torch.ones(COARSE.shape))
    monkeypatch.setattr(generator_of, "acquire", lambda values, *_, **__: values)
    monkeypatch.setattr(generator_of, "bag", lambda *_: torch.zeros(COARSE.shape))
    ratios = [draw_view(whole, COARSE, Look(corruption), _seeded(s))[5, 5, 5] for s in range(200)]
    gammas = -torch.stack(ratios).log2()
    assert gammas.log().std() == pytest.approx(spread, rel=0.2)
    assert gammas.log().mean() == pytest.approx(0, abs=spread / 3)


def test_a_photographed_brain_is_dry(tissue):
    wet = paint(tissue, COARSE, _seeded(2))[0]
    dry = draw_view(tissue, COARSE, Look(MILD, photo_mm=4.0), _seeded(2))
    fluid = tissue.shares[0] > 0.99
    assert wet[fluid].mean() > 20
    assert dry[fluid].mean() < 0.05


def test_an_anatomy_is_smoothed_for_a_coarse_lattice_only(labelled):
    assert smoothed(labelled, Lattice(1)) is labelled
    coarse = smoothed(labelled, COARSE)
    assert coarse.channels.shape == (5, 91, 91, 109)
    there = tissue_of(coarse, COARSE.positions()).mask
    assert (there - tissue_of(labelled, COARSE.positions()).mask).abs().mean() < 0.01


def test_a_fifth_of_the_people_are_photographed(labelled, monkeypatch):
    seen = []
    monkeypatch.setattr(
        generator_of, "draw_view", lambda t, _, look, __: seen.append(look.photo_mm) or t.mask
    )
    still = _deformation(0, STILL)
    for seed in range(120):
        draw_subject(labelled, COARSE, still, _seeded(seed))
    spacings = np.array(seen[::4])
    assert (spacings > 0).mean() == pytest.approx(0.2, abs=0.1)
    assert (spacings[spacings > 0].min() > 2, spacings.max() < 12) == (True, True)


@pytest.mark.parametrize("kind", ["labelled", "scanned"])
def test_a_subject_is_seen_four_times_in_one_shape(kind, request):
    anatomy = request.getfixturevalue(kind)
    subject = draw_subject(anatomy, COARSE, _deformation(6), _seeded(6))
    assert subject.views.shape == (4, *COARSE.shape)
    assert subject.views.min() >= 0
    torch.testing.assert_close(subject.views.amax(dim=(1, 2, 3)), torch.ones(4))
    assert len({float(v.mean()) for v in subject.views}) == 4
    outline = subject.tissue.mask > 0.5
    for view in subject.views[:2]:
        assert view[outline].mean() > 3 * view[~outline].mean()


def test_the_same_seed_gives_the_same_views(scanned):
    first, second, other = (
        draw_subject(scanned, COARSE, _deformation(1), _seeded(s)).views for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
