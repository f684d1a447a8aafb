"""How much is measured: whether it runs at all, a look in minutes, or what is published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """Counts for one size of the benchmark; the same counts always draw the same inputs."""

    people: int  # of `t1w`, positioned anew
    rescans: int  # of each
    pairs: int  # of two contrasts, from each folder
    judge_checks: int  # pairs on which the judge itself is tested
    starts: int
    label_maps: int
    peer_people: int  # positioned anew for the peers too
    speed_repeats: int  # warm runs of each input
    batch: int  # studies for each of two workers


SIZES = {
    "smoke": Workload(
        people=1, rescans=1, pairs=1, judge_checks=0, starts=2, label_maps=1,
        peer_people=1, speed_repeats=1, batch=1,
    ),
    "quick": Workload(
        people=3, rescans=2, pairs=1, judge_checks=1, starts=12, label_maps=2,
        peer_people=1, speed_repeats=2, batch=3,
    ),
    "full": Workload(
        people=30, rescans=3, pairs=7, judge_checks=3, starts=300, label_maps=12,
        peer_people=5, speed_repeats=5, batch=12,
    ),
}  # fmt: skip
SEED = 20261121
PARTS = ("repeatability", "agreement", "starts", "masks", "speed", "peers")
UNTIMED = PARTS[:4]  # in which a fault can be noticed
FAULTS = ("flip", "orientation")
