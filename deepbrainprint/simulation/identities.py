"""What the header says of people who do not exist."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from numpy.random import default_rng

from deepbrainprint.records import HeaderIdentity

GIVEN_NAMES = {
    "F": ("Ada", "Berta", "Clara", "Dora", "Edith", "Frida", "Greta", "Hilda"),
    "M": ("Anton", "Bruno", "Casimir", "David", "Emil", "Felix", "Gustav", "Hugo"),
}
FAMILY_NAMES = ("Testmann", "Sampleton", "Mockford", "Fakenham", "Dummett", "Phantomas", "Synth")
ISSUER = "SIMULATION"
FIRST_VISIT = date(2024, 1, 8)
FIRST_OF_FOLLOW_UP = date(2014, 1, 8)
DAYS_A_YEAR = 365.25


def identity_of(person: int, *, visit: int = 1, other_id: bool = False) -> HeaderIdentity:
    """The header of one visit; `other_id` gives the same person's birth date under a new id."""
    rng = default_rng([person, 4])
    sex = str(rng.choice(("F", "M")))
    born = date(1940, 1, 1) + timedelta(days=int(rng.integers(0, 60 * 365)))
    family, given = rng.choice(FAMILY_NAMES), rng.choice(GIVEN_NAMES[sex])
    seen_on = FIRST_VISIT + timedelta(days=400 * (visit - 1) + int(rng.integers(0, 300)))
    return HeaderIdentity(
        patient_id=f"SIM-{'X' if other_id else ''}{person:06d}",
        issuer=ISSUER,
        name=f"{family}^{given}",
        birth_date=f"{born:%Y%m%d}",
        sex=sex,
        accession_number=f"A{person:06d}-{visit}{'X' if other_id else ''}",
        study_date=f"{seen_on:%Y%m%d}",
    )


def identity_at(
    person: int, *, visit: int, ages: tuple[float, float], other_id: bool = False
) -> HeaderIdentity:
    """The header of one visit of someone with a life: `ages` at the first visit and at this one."""
    usual = identity_of(person, visit=visit, other_id=other_id)
    first, now = ages
    first_seen = FIRST_OF_FOLLOW_UP + timedelta(days=int(default_rng([person, 12]).integers(300)))
    born = first_seen - timedelta(days=round(first * DAYS_A_YEAR))
    seen = first_seen + timedelta(days=round((now - first) * DAYS_A_YEAR))
    return replace(usual, birth_date=f"{born:%Y%m%d}", study_date=f"{seen:%Y%m%d}")
