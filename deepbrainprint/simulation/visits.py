"""When and where a generated person is scanned, and how well it goes: all drawn before any scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, default_rng

from deepbrainprint.records import Contrast
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.heads import Pose, random_pose
from deepbrainprint.simulation.life import Life
from deepbrainprint.simulation.sites import SITES, Defacing, Site, chosen

JITTER = 0.25  # of the time between two visits
MOTION_VOXELS = (0.5, 2.5)
OBLIQUE_DEG = 6.0  # slices planned by hand, where they are thick
MOST_LOST = 0.2  # of the slices that show brain
CUT_SHARE = 0.6  # of losses: at one end; the others are single slices


@dataclass(frozen=True)
class Visit:
    """One scan to be made. Years count from the first visit.

    `cut_first` and `cut_last` are shares of the slices with brain that were not acquired, `dropped`
    the share of slices that got lost in between.
    """

    number: int
    years: float
    age: float
    site: Site
    protocol: Protocol
    pose: Pose
    motion_voxels: float
    defaced: bool
    cut_first: float
    cut_last: float
    dropped: float
    seed: int


def visits(
    life: Life, *, count: int, years: float, contrasts: tuple[Contrast, ...] = ()
) -> tuple[Visit, ...]:
    """`count` visits over about `years`; `contrasts` in turn, without any as the site chooses."""
    home = SITES[int(default_rng([life.seed, 9]).integers(len(SITES)))]
    made = []
    for number in range(1, count + 1):
        contrast = contrasts[(number - 1) % len(contrasts)] if contrasts else None
        rng = default_rng([life.seed, 10, number])
        since = _years_since(rng, number, count, years)
        made.append(_visit(rng, life, (number, since), chosen(rng, home, contrast)))
    return tuple(made)


def _years_since(rng: Generator, number: int, count: int, years: float) -> float:
    """Evenly spread, a little early or late except for the first and the last."""
    if number == 1 or count == 1:
        return 0.0
    step = years / (count - 1)
    early_or_late = float(rng.uniform(-JITTER, JITTER)) if number < count else 0.0
    return step * (number - 1 + early_or_late)


def _visit(
    rng: Generator, life: Life, when: tuple[int, float], where: tuple[Site, Protocol]
) -> Visit:
    (number, years), (site, protocol) = when, where
    restless = rng.random() < site.motion_chance
    motion = float(rng.uniform(*MOTION_VOXELS))
    first, last, dropped = _losses(rng, site)
    return Visit(
        number=number,
        years=years,
        age=life.first_age + years,
        site=site,
        protocol=_planned(rng, protocol),
        pose=random_pose(rng),
        motion_voxels=motion if restless else 0.0,
        defaced=_defaced(rng, site),
        cut_first=first,
        cut_last=last,
        dropped=dropped,
        seed=int(rng.integers(2**31)),
    )


def _planned(rng: Generator, protocol: Protocol) -> Protocol:
    """Thick slices are tilted to the anatomy by whoever plans them."""
    tilt = rng.uniform(-OBLIQUE_DEG, OBLIQUE_DEG, 3)
    thick = protocol.voxel_mm[2] > 2 * protocol.voxel_mm[0]
    return replace(protocol, oblique_deg=(tilt[0], tilt[1], tilt[2])) if thick else protocol


def _losses(rng: Generator, site: Site) -> tuple[float, float, float]:
    lost, share = rng.random() < site.loss_chance, float(rng.uniform(0.05, MOST_LOST))
    at_end, at_top = rng.random(2) < (CUT_SHARE, 0.5)
    if not lost:
        return (0.0, 0.0, 0.0)
    if not at_end:
        return (0.0, 0.0, share)
    return (0.0, share, 0.0) if at_top else (share, 0.0, 0.0)


def _defaced(rng: Generator, site: Site) -> bool:
    share = {Defacing.NEVER: 0.0, Defacing.SOMETIMES: 0.5, Defacing.ALWAYS: 1.0}
    return bool(rng.random() < share[site.defacing])


def lost_slices(visit: Visit, slices: int) -> tuple[int, ...]:
    """Which of `slices` with brain got lost in between; never the first or the last."""
    rng = default_rng([visit.seed, 1])
    count = min(round(visit.dropped * slices), max(slices - 2, 0))
    return tuple(int(n) for n in np.sort(1 + rng.permutation(max(slices - 2, 0))[:count]))
