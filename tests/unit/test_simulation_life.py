"""Generated lives: ageing as published, disease on top, lesions that appear and grow."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from deepbrainprint.simulation.life import (
    COURSE_SHARES,
    DISEASE_PACE,
    GREY_LOST_A_YEAR,
    OLD_AGE,
    OLDEST,
    VENTRICLES_ML_A_YEAR,
    YOUNGEST,
    Course,
    Lesion,
    Life,
    life,
)

WHITE_MATTER = np.random.default_rng(0).uniform(-40, 40, (500, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def lives() -> list[Life]:
    return [life(seed, WHITE_MATTER) for seed in range(800)]


def healthy(first_age: float = 60.0) -> Life:
    return Life(1, "F", first_age, Course.HEALTHY, pace=1.0, onset_age=first_age, lesions=())


def test_the_same_seed_is_the_same_life():
    assert life(5, WHITE_MATTER) == life(5, WHITE_MATTER)
    assert life(5, WHITE_MATTER) != life(6, WHITE_MATTER)


def test_every_course_is_as_frequent_as_stated(lives):
    counts = Counter(one.course for one in lives)
    for course, share in zip(Course, COURSE_SHARES, strict=True):
        assert counts[course] / len(lives) == pytest.approx(share, abs=0.05)


def test_people_are_adults_of_all_ages_and_both_sexes(lives):
    ages = [one.first_age for one in lives]
    assert min(ages) > YOUNGEST - 1e-9
    assert max(ages) < OLDEST
    assert np.std(ages) == pytest.approx((OLDEST - YOUNGEST) / 12**0.5, rel=0.1)
    assert {one.sex for one in lives} == {"F", "M"}


def test_an_old_brain_changes_at_the_published_rate():
    before, after = (healthy().at(OLD_AGE + half) for half in (-0.5, 0.5))
    assert after.ventricles_ml - before.ventricles_ml == pytest.approx(VENTRICLES_ML_A_YEAR, 0.01)
    assert after.grey_lost - before.grey_lost == pytest.approx(GREY_LOST_A_YEAR, 0.01)


def test_a_young_brain_changes_slower_than_an_old_one():
    steps = [healthy().at(age + 1).grey_lost - healthy().at(age).grey_lost for age in (19, 30, 60)]
    assert 0 <= steps[0] < 0.2 * steps[1] < 0.2 * steps[2]


def test_nothing_that_was_lost_comes_back(lives):
    for one in lives[:100]:
        states = [one.at(age) for age in np.linspace(18, 105, 30)]
        assert all(np.diff([state.ventricles_ml for state in states]) >= 0)
        assert all(np.diff([state.grey_lost for state in states]) >= 0)
        assert all(np.diff([len(state.lesions) for state in states]) >= 0)


def test_disease_quickens_the_loss_from_its_onset_on():
    well = healthy()
    ill = replace(well, course=Course.ATROPHY, onset_age=65.0)
    assert ill.at(64.9) == well.at(64.9)
    gained = [one.at(70).ventricles_ml - one.at(65).ventricles_ml for one in (ill, well)]
    assert gained[0] / gained[1] == pytest.approx(DISEASE_PACE)


def test_a_lesion_that_grew_is_larger_at_the_next_visit_and_where_it_was():
    spot = Lesion((20.0, 10.0, 25.0), 4.0, (1.0, 1.0, 1.0), onset_age=60.0, growth_years=3.0)
    one = replace(healthy(), course=Course.LESIONS, lesions=(spot,))
    assert one.at(60.0).lesions == ()
    radii = [one.at(age).lesions[0][1] for age in (61, 63, 90)]
    assert radii == sorted(radii)
    assert radii[1] == pytest.approx(4.0 * (1 - np.exp(-1)))
    assert radii[2] == pytest.approx(4.0, rel=1e-3)
    assert one.at(61).lesions[0][0].place_mm == one.at(90).lesions[0][0].place_mm


def test_only_those_with_such_a_course_have_lesions_and_those_in_white_matter(lives):
    allowed = {tuple(place) for place in WHITE_MATTER.tolist()}
    for one in lives:
        assert bool(one.lesions) == one.course.lesional
        assert {lesion.place_mm for lesion in one.lesions} <= allowed


def test_new_lesions_appear_during_ten_years_of_follow_up(lives):
    ill = [one for one in lives if one.course.lesional]
    new = [
        len(one.at(one.first_age + 10).lesions) - len(one.at(one.first_age).lesions) for one in ill
    ]
    assert np.mean(new) > 3
