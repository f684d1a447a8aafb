"""Which way up a head lies: where an alignment starts, whatever the header says of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepbrainprint.imaging.registration import AFFINE, RADIUS, SIMILAR, Problem, Vector
from deepbrainprint.records import AffineArray

LOOK_MM, FINE_MM = 12.0, 8.0
LEAN = 0.35  # radians from an upright head, in the poses that are looked at
LOOK_ITERATIONS, FINE_ITERATIONS = 10, 20
SURE = 0.2  # nats by which a refined pose beats what another promised: the right one does
TRUST = 0.03  # nats by which another orientation must beat the one that the header says


@dataclass(frozen=True)
class Pose:
    """A start: a quarter or half turn of the scan, and parameters from there."""

    turn: AffineArray  # (4, 4), about the brain's centre of gravity, RAS mm of the scan
    parameters: Vector  # (12,) as registration has them


At = Callable[[float, AffineArray], Problem]  # the problem at a resolution in mm, after a turn


def found(at: At, pivot: Vector, scale: float) -> Pose:
    """Return the pose to refine, of all that a header can mistake for one another.

    Each of the 24 orientations is looked at coarsely, upright and leaning six ways; the best lean
    of each goes some steps downhill with one scale. They are then refined, the most promising
    first, until one is better than any of the rest can become. `pivot` (3,) is the brain's centre
    of gravity in RAS mm of the scan, `scale` the coefficient of the usual scale.
    """
    turns = [_about(pivot, square) for square in TURNS]
    upright, *others = [_looked_at(at(LOOK_MM, turn), turn, scale) for turn in turns]
    loss, best = _refined(at, upright[1])
    loss -= TRUST
    for seen, pose in sorted(others, key=lambda rated: rated[0]):
        if loss < seen - SURE:
            break
        loss, best = min((loss, best), _refined(at, pose), key=lambda rated: rated[0])
    return best


def _looked_at(problem: Problem, turn: AffineArray, scale: float) -> tuple[float, Pose]:
    """The best lean after a turn, some steps downhill, with its loss."""
    starts = [_leaning(lean, scale) for lean in LEANS]
    best = min(starts, key=lambda start: problem.loss(start)[0])
    loss, parameters = problem.solve(best, SIMILAR, LOOK_ITERATIONS)
    return loss, Pose(turn, parameters)


def _refined(at: At, pose: Pose) -> tuple[float, Pose]:
    loss, parameters = at(FINE_MM, pose.turn).solve(pose.parameters, SIMILAR, FINE_ITERATIONS)
    return loss, Pose(pose.turn, parameters)


def _leaning(lean: Sequence[float], scale: float) -> Vector:
    start = np.zeros(AFFINE)
    start[3:6], start[6] = np.array(lean) * RADIUS, scale * RADIUS
    return start


def _about(pivot: Vector, square: Vector) -> AffineArray:
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = square, pivot - square @ pivot
    return turn


def _turns() -> list[Vector]:
    """The 24 rotations (3, 3) that take axes to axes, the one that does nothing first."""
    signed = [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    proper = [square for square in signed if np.linalg.det(square) > 0]
    return sorted(proper, key=lambda square: -float(np.trace(square)))


TURNS = _turns()
LEANS = [(0.0, 0.0, 0.0), *(tuple(lean) for lean in LEAN * np.vstack([np.eye(3), -np.eye(3)]))]
