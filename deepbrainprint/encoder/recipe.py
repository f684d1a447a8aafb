"""What a training run is made of: one frozen record, written whole into the model card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Literal

from deepbrainprint.errors import Misconfigured

GRID_MM = (182, 218, 182)  # the MNI152 1 mm grid, RAS
VENTRICLE_PLANE = 90  # axial index of the bodies of the lateral ventricles on that grid
WHOLE = ((0, 182), (0, 218))
BRAIN = ((11, 171), (14, 204))  # what a brain on the grid fills, with a margin


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one run; with the data digests and the seed they name its result.

    `planes` are axial indices on the 1 mm grid; they are the input channels of the network.
    `pixel_mm` is the size to which the network's first operation reduces a plane, and
    `window` the part of the plane that it reads.
    `negatives` is `mined` (one easiest positive and one semi-hard negative for an anchor, as
    DeepBrainPrint's miner does) or `all` (every other person of the batch).
    `contrastive_on` says where NT-Xent is measured: on the projection `head`, as published, or
    on the `fingerprint` itself.
    `views` says what Barlow Twins compares: two `scans` of a person, or two `augmented` views of
    every scan, as published, where NT-Xent then sees the first view only.
    `beta` is how the weight of Barlow Twins falls: `linear`, in one `step`, or `constant`.
    """

    name: str
    planes: tuple[int, ...]
    pixel_mm: float
    window: tuple[tuple[int, int], tuple[int, int]]  # first and last + 1 voxel of x and of y
    negatives: Literal["mined", "all"] = "all"
    contrastive_on: Literal["head", "fingerprint"] = "head"
    views: Literal["scans", "augmented"] = "scans"
    beta: Literal["linear", "step", "constant"] = "linear"
    optimiser: Literal["adamw", "lars"] = "adamw"  # LARS has the published rates, for any batch
    steps: int = 1500
    minutes: float = 0.0  # above 0: the schedule runs by the clock and `steps` is ignored
    people: int = 32  # in a batch, two scans of each
    anatomies: tuple[int, ...] = (24, 12, 6)  # per batch, in equal thirds of the run
    ramp: float = 0.4  # share of the run over which scans go from mild to severe
    harder_from: float = 0.6  # share of the run from which severity goes on beyond 1
    hardest: float = 1.8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.02  # share of the run
    redundancy: float = 0.0051  # λ of Barlow Twins
    temperature: float = 0.07  # τ of NT-Xent
    contrastive_weight: float = 1e4
    head_width: int = 2048
    shrinkage: float = 5.0  # of the whitening after training
    seed: int = 20261121
    check_every: int = 40  # steps between validations and checkpoints

    def pixels(self) -> tuple[int, int]:
        """How many pixels the network sees along x and y."""
        x, y = (ceil((stop - start) / self.pixel_mm) for start, stop in self.window)
        return x, y

    def as_json(self) -> dict[str, object]:
        """The fields as JSON takes them."""
        return asdict(self) | {"planes": list(self.planes), "anatomies": list(self.anatomies)}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "first-light",
            planes=tuple(range(34, 126, 7)),
            pixel_mm=2.5,
            window=BRAIN,
            minutes=48.0,
        ),
        Recipe(
            "deepbrainprint",
            planes=(VENTRICLE_PLANE,),
            pixel_mm=1.0,
            window=WHOLE,
            negatives="mined",
            views="augmented",
            optimiser="lars",
            warmup=10 / 180,
        ),
    )
}


def named_recipe(name: str, **changes: object) -> Recipe:
    """The recipe of that name with some fields changed; Misconfigured if there is none."""
    if name not in RECIPES:
        raise Misconfigured(
            f"no recipe is called {name}: choose one of {', '.join(RECIPES)}", code="unknown_recipe"
        )
    return replace(RECIPES[name], **changes)  # type: ignore[arg-type]
