"""Several scanners, and what each visit is to be: drawn once, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast
from deepbrainprint.simulation.life import Course, Life
from deepbrainprint.simulation.sites import SITES, Defacing, chosen, site_called
from deepbrainprint.simulation.visits import MOST_LOST, lost_slices, visits

CONTRASTS = (Contrast.T1W, Contrast.T2W, Contrast.FLAIR)


def someone(seed: int) -> Life:
    return Life(seed, "F", 50.0, Course.HEALTHY, pace=1.0, onset_age=50.0, lesions=())


@pytest.fixture(scope="module")
def many():
    return [one for seed in range(300) for one in visits(someone(seed), count=4, years=10)]


def test_the_menus_span_what_clinics_have():
    sizes = [protocol.voxel_mm for site in SITES for protocol in site.protocols]
    assert min(size[2] for size in sizes) == 0.8
    assert max(size[2] for size in sizes) == 5.0
    assert len({protocol.orientation for site in SITES for protocol in site.protocols}) == 3
    assert all(site.offers(contrast) for site in SITES for contrast in CONTRASTS)


def test_scanners_have_names_and_characters_of_their_own():
    assert len({site.name for site in SITES}) == len({site.seed for site in SITES}) == len(SITES)
    assert len({(site.noise, site.bias, site.stretch, site.bulge) for site in SITES}) == len(SITES)
    assert site_called("ward-0.06t").noise == max(site.noise for site in SITES)


def test_an_unknown_scanner_is_refused_with_the_known_ones():
    with pytest.raises(BadStudy, match="north-3t"):
        site_called("moon-1t")


def test_a_contrast_that_nobody_offers_is_refused():
    with pytest.raises(BadStudy, match="T1w, T2w, FLAIR or PD"):
        chosen(np.random.default_rng(0), SITES[0], Contrast.SWI)


def test_distortion_leaves_the_isocentre_and_grows_outwards():
    site = replace(SITES[0], stretch=(0.01, 0.0, 0.0), bulge=0.02)
    points = np.array([[0, 0, 0], [100, 0, 0], [0, 50, 0]], dtype=np.float32).T
    np.testing.assert_allclose(
        site.distorted(points).T, [[0, 0, 0], [103, 0, 0], [0, 50.25, 0]], atol=1e-4
    )


def test_the_same_seed_plans_the_same_visits():
    first, again = (visits(someone(7), count=3, years=5) for _ in range(2))
    assert first == again
    assert first != visits(someone(8), count=3, years=5)


def test_visits_span_the_years_in_order():
    for seed in range(50):
        years = [visit.years for visit in visits(someone(seed), count=4, years=10)]
        assert years[0] == 0
        assert years[-1] == pytest.approx(10)
        assert all(step >= 10 / 3 * 0.5 - 1e-9 for step in np.diff(years))


def test_age_follows_the_years_and_rescans_are_of_one_age():
    assert all(one.age == 50 + one.years for one in visits(someone(1), count=4, years=10))
    assert {one.age for one in visits(someone(1), count=4, years=0)} == {50.0}


def test_contrasts_that_are_asked_for_come_in_turn():
    made = visits(someone(3), count=4, years=1, contrasts=(Contrast.PD, Contrast.FLAIR))
    assert [one.protocol.contrast for one in made] == ["PD", "FLAIR", "PD", "FLAIR"]
    assert all(one.protocol.contrast in {p.contrast for p in one.site.protocols} for one in made)


def test_people_come_home_and_also_go_elsewhere(many):
    assert {visit.site.name for visit in many} == {site.name for site in SITES}
    own = [many[n : n + 4] for n in range(0, len(many), 4)]
    per_person = [len({visit.site.name for visit in four}) for four in own]
    assert 1.8 < np.mean(per_person) < 3.2
    assert 0.4 < np.mean([visit.protocol.contrast == "T1w" for visit in many]) < 0.6


def test_faces_go_where_the_site_says_so(many):
    for visit in many:
        assert visit.defaced or visit.site.defacing is not Defacing.ALWAYS
        assert not (visit.defaced and visit.site.defacing is Defacing.NEVER)


def test_some_move_and_some_scans_are_incomplete(many):
    assert 0.04 < np.mean([visit.motion_voxels > 0 for visit in many]) < 0.15
    lost = np.array([(v.cut_first, v.cut_last, v.dropped) for v in many])
    assert 0.02 < (lost.sum(axis=1) > 0).mean() < 0.12
    assert (np.count_nonzero(lost, axis=1) <= 1).all()  # one kind at a time
    assert (np.count_nonzero(lost, axis=0) > 0).all()
    assert lost.max() <= MOST_LOST


def test_lost_slices_are_as_many_as_planned_and_never_the_outermost():
    visit = replace(visits(someone(1), count=1, years=0)[0], dropped=0.2)
    lost = lost_slices(visit, 40)
    assert len(set(lost)) == 8
    assert 0 < min(lost) <= max(lost) < 39
    assert lost == lost_slices(visit, 40)
    assert lost_slices(replace(visit, dropped=0.0), 40) == ()


def test_thick_slices_are_tilted_by_hand_and_cubes_are_not(many):
    for visit in many:
        cube = visit.protocol.voxel_mm[2] <= 2 * visit.protocol.voxel_mm[0]
        assert (visit.protocol.oblique_deg == (0.0, 0.0, 0.0)) == cube
