"""What becomes of a generated person's brain with age: growing ventricles, lost cortex, lesions.

Rates in the literature, and what is made of them here:

- ventricles of people of 59–85 years grow by 1.4 ml a year, grey matter shrinks by 2.4 ml a year
  (Resnick et al., J Neurosci 2003, abstract); cortex of people of 60–91 years by about 0.5 % a year
  (Fjell et al., J Neurosci 2009, abstract);
- loss begins in early adulthood, and very mild dementia takes it from 0.45 % to 0.98 % of the brain
  a year (Fotenos et al., Neurology 2005, abstract).

Chosen, for want of one figure for all ages: how rates rise from `ADULT_AGE` on, the ventricles'
late, the cortex's early, and where they end; how much people differ in pace; how often a course
occurs; number, size and growth of lesions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator, default_rng

from deepbrainprint.records import FloatArray
from deepbrainprint.simulation.acquisition import Triple
from deepbrainprint.simulation.identities import identity_of

YOUNGEST, OLDEST = 18.0, 90.0  # at the first visit
ADULT_AGE, OLD_AGE = 20.0, 72.0  # no loss before; the published rates hold at the second
VENTRICLES_ML_A_YEAR = 1.4  # at OLD_AGE
GREY_LOST_A_YEAR = 0.005  # share, at OLD_AGE
VENTRICLES_RISE, GREY_RISE = 2.5, 1.0  # powers of the years since ADULT_AGE that rates grow with
DISEASE_PACE = 0.98 / 0.45  # against healthy ageing, from onset on
PACE_SPREAD = 0.25  # log standard deviation from person to person
MOST_GREY_LOST, MOST_VENTRICLES_ML = 0.29, 45.0  # beyond, heads stop looking human
COURSE_SHARES = (0.5, 0.2, 0.15, 0.15)  # in the order of Course
ONSET_YEARS = (-6.0, 6.0)  # of a disease, from the first visit
LESIONS = (4, 30)
LESION_RADIUS_MM = (1.5, 5.5)
LESION_ONSET_YEARS = (-12.0, 10.0)
LESION_GROWTH_YEARS = (1.5, 6.0)  # until 63 % of the radius is there


class Course(StrEnum):
    """What a person has besides age."""

    HEALTHY = "healthy"
    ATROPHY = "atrophy"
    LESIONS = "lesions"
    BOTH = "atrophy and lesions"

    @property
    def atrophic(self) -> bool:
        """Whether loss is faster than age alone explains."""
        return self in {Course.ATROPHY, Course.BOTH}

    @property
    def lesional(self) -> bool:
        """Whether white-matter lesions appear."""
        return self in {Course.LESIONS, Course.BOTH}


@dataclass(frozen=True)
class Lesion:
    """A white-matter lesion, in template mm: it appears, grows and never moves in the tissue."""

    place_mm: Triple
    radius_mm: float  # in the end
    stretch: Triple  # of the radius along right, front and top
    onset_age: float
    growth_years: float

    def radius_at(self, age: float) -> float:
        """Radius in mm at this age, 0 before the onset."""
        grown = 1 - np.exp(-max(age - self.onset_age, 0.0) / self.growth_years)
        return float(self.radius_mm * grown)


@dataclass(frozen=True)
class State:
    """The brain at one age, against the same person at 20 years.

    `ventricles_ml` is how much the ventricles have grown, `grey_lost` a share of the grey matter,
    `lesions` pairs of a lesion and its radius in mm today.
    """

    age: float
    ventricles_ml: float
    grey_lost: float
    lesions: tuple[tuple[Lesion, float], ...]


@dataclass(frozen=True)
class Life:
    """One person from the first visit on; ages in years."""

    seed: int
    sex: str  # F or M
    first_age: float
    course: Course
    pace: float  # of ageing, 1 for most
    onset_age: float  # of the atrophy, if there is one
    lesions: tuple[Lesion, ...]

    def at(self, age: float) -> State:
        """The brain at `age`; a later one never has less loss, nor smaller lesions."""
        grown = VENTRICLES_ML_A_YEAR * self._burden(age, VENTRICLES_RISE)
        lost = GREY_LOST_A_YEAR * self._burden(age, GREY_RISE)
        seen = [(lesion, lesion.radius_at(age)) for lesion in self.lesions]
        return State(
            age=age,
            ventricles_ml=min(grown, MOST_VENTRICLES_ML),
            grey_lost=min(lost, MOST_GREY_LOST),
            lesions=tuple((lesion, radius) for lesion, radius in seen if radius > 0),
        )

    def _burden(self, age: float, rise: float) -> float:
        """Years of ageing at the rate of OLD_AGE that the brain has behind it."""
        healthy = _years_of_loss(age, rise)
        if self.course.atrophic and age > self.onset_age:
            healthy += (DISEASE_PACE - 1) * (healthy - _years_of_loss(self.onset_age, rise))
        return self.pace * healthy


def life(seed: int, white_matter_mm: FloatArray) -> Life:
    """The life of synthetic person number `seed`.

    `white_matter_mm` (n, 3) are the places, template mm, where lesions may appear.
    """
    rng = default_rng([seed, 8])
    first_age = float(rng.uniform(YOUNGEST, OLDEST))
    course = list(Course)[int(rng.choice(len(Course), p=COURSE_SHARES))]
    return Life(
        seed=seed,
        sex=identity_of(seed).sex,
        first_age=first_age,
        course=course,
        pace=float(np.exp(rng.normal(0, PACE_SPREAD))),
        onset_age=first_age + float(rng.uniform(*ONSET_YEARS)),
        lesions=_lesions(rng, first_age, white_matter_mm) if course.lesional else (),
    )


def _lesions(rng: Generator, first_age: float, places: FloatArray) -> tuple[Lesion, ...]:
    count = int(rng.integers(*LESIONS, endpoint=True))
    where = places[rng.integers(0, len(places), count)]
    return tuple(_lesion(rng, first_age, place) for place in where)


def _lesion(rng: Generator, first_age: float, place: FloatArray) -> Lesion:
    """One lesion; small ones are many: radii have a density that falls linearly."""
    low, high = LESION_RADIUS_MM
    right, front, top = (float(mm) for mm in place)
    wide, deep, tall = (float(factor) for factor in np.exp(rng.normal(0, 0.25, 3)))
    return Lesion(
        place_mm=(right, front, top),
        radius_mm=float(rng.triangular(low, low, high)),
        stretch=(wide, deep, tall),
        onset_age=first_age + float(rng.uniform(*LESION_ONSET_YEARS)),
        growth_years=float(rng.uniform(*LESION_GROWTH_YEARS)),
    )


def _years_of_loss(age: float, rise: float) -> float:
    """The rate (t / T) ** rise summed up from ADULT_AGE, t being the years since then."""
    since, span = max(age - ADULT_AGE, 0.0), OLD_AGE - ADULT_AGE
    return float(span * (since / span) ** (rise + 1) / (rise + 1))
