"""What a training run is made of: one frozen record, written whole into the model card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, floor
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import GRID_SHAPE, InputForm

GRID_MM = GRID_SHAPE
VENTRICLE_PLANE = 90  # axial index of the bodies of the lateral ventricles on that grid
WHOLE = ((0, 182), (0, 218))
PUBLISHED = ("negative", "rotation", "shift", "bias", "dropout", "elastic")  # transforms
STANDARD = ("crop", "mirror", "contrast", "blur", "noise")
BRAIN = ((11, 171), (14, 204))  # what a brain on the grid fills, with a margin


# first and last + 1 voxel along x, y and z of what `anatcl` generates and reads
BOX = ((12, 171), (15, 201), (0, 156))
# 121×128×121 of 121×145×121, as AnatCL's authors cut CAT12's maps
RELEASED_MM, RELEASED_CUBES = 1.5, ((0, 121), (8, 136), (0, 121))


@dataclass(frozen=True)
class Recipe(ABC):
    """What every method's run has; with the data digests and the seed it names its result."""

    method: ClassVar[str]

    name: str
    steps: int = 1500
    minutes: float = 0.0  # above 0: the schedule runs by the clock and `steps` is ignored
    people: int = 32  # in a batch, two scans of each
    optimiser: Literal["adamw", "lars"] = "adamw"  # LARS has the published rates, for any batch
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.02  # share of the run
    ramp: float = 0.4  # share of the run over which scans go from mild to severe
    harder_from: float = 0.6  # share of the run from which severity goes on beyond 1
    hardest: float = 1.8
    shrinkage: float = 5.0  # of the whitening after training
    seed: int = 20261121
    check_every: int = 40  # steps between validations and checkpoints

    @property
    @abstractmethod
    def form(self) -> InputForm:
        """What the network reads of an aligned brain."""

    def released(self) -> Recipe:
        """The recipe in the size of the weights that the paper's authors released, if any."""
        return self

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON takes them, and the method."""
        plain = {name: _plain(value) for name, value in asdict(self).items()}
        return {"method": self.method} | plain


@dataclass(frozen=True)
class PlaneRecipe(Recipe):
    """DeepBrainPrint (arXiv 2302.13057) and what comes of it: a ResNet-18 over axial planes.

    `planes` are axial indices on the 1 mm grid; they are the input channels of the network.
    `pixel_mm` is the size to which the network's first operation reduces a plane, and
    `window` the part of the plane that it reads.
    `negatives` is `mined` (one easiest positive and one semi-hard negative for an anchor, as
    DeepBrainPrint's miner does) or `all` (every other person of the batch).
    `contrastive_on` says where NT-Xent is measured: on the projection `head`, as published, or
    on the `fingerprint` itself.
    `views` says what Barlow Twins compares: two `scans` of a person, or two `augmented` views of
    every scan, as published, where NT-Xent then sees the first view only.
    `transforms` are the augmentations of such a view, by name.
    `beta` is how the weight of Barlow Twins falls: `linear`, in one `step`, or `constant`.
    """

    method: ClassVar[str] = "deepbrainprint"

    planes: tuple[int, ...] = (VENTRICLE_PLANE,)
    pixel_mm: float = 1.0
    window: tuple[tuple[int, int], tuple[int, int]] = WHOLE  # first and last + 1 voxel of x and y
    negatives: Literal["mined", "all"] = "all"
    contrastive_on: Literal["head", "fingerprint"] = "head"
    views: Literal["scans", "augmented"] = "scans"
    transforms: tuple[str, ...] = PUBLISHED
    beta: Literal["linear", "step", "constant"] = "linear"
    anatomies: tuple[int, ...] = (24, 12, 6)  # per batch, in equal thirds of the run
    redundancy: float = 0.0051  # λ of Barlow Twins
    temperature: float = 0.07  # τ of NT-Xent
    contrastive_weight: float = 1e4
    head_width: int = 2048

    @property
    def form(self) -> InputForm:
        """The planes."""
        return InputForm("planes", self.planes)

    def pixels(self) -> tuple[int, int]:
        """How many pixels the network sees along x and y."""
        x, y = (ceil((stop - start) / self.pixel_mm) for start, stop in self.window)
        return x, y


@dataclass(frozen=True)
class BrainIdRecipe(Recipe):
    """Brain-ID with fewer maps and coarser voxels, so that two cores can train it.

    `width` and `levels` are those of the U-Net, which always gives 64 features; released: 64 and 5.
    `step_mm` is the edge of a voxel; released: 1. The deepest of four levels then has voxels of
    24 mm, the released one of 16 mm. `people` is how many subjects a batch has, each in four views,
    and `check_people` how many are drawn for the pair accuracy of held-out people.
    """

    method: ClassVar[str] = "brain-id"

    people: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    width: int = 16
    levels: int = 4
    step_mm: int = 3
    check_people: int = 12

    @property
    def form(self) -> InputForm:
        """The whole brain."""
        return InputForm("volume", step_mm=self.step_mm)

    def released(self) -> BrainIdRecipe:
        """In the size of the authors' weights."""
        return replace(self, step_mm=1, width=64, levels=5)


@dataclass(frozen=True)
class AnatClRecipe(Recipe):
    """What is AnatCL's own.

    `step_mm` is the edge of the cubes of the grey-matter map, `width` that of the network's first
    stage. `descriptor` says how anatomies are compared, `descriptors.squared_distances`; the
    kernel's widths are in standard deviations and in years. `age_share` is λ. Of the people of a
    batch, `siblings` at a time are born of one base anatomy.
    """

    method: ClassVar[str] = "anatcl"

    people: int = 16
    hardest: float = 1.2  # at 1 two scans of a person differ as real T1w and T2w maps do
    step_mm: float = 3.0
    width: int = 64  # as released
    descriptor: Literal["local", "global"] = "local"
    weak_loss: Literal["y_aware", "threshold", "exponential"] = "exponential"
    kernel: Literal["rbf", "cauchy", "gaussian"] = "rbf"
    anatomy_width: float = 0.2  # others then count about as much as the other scan of a person
    age_width: float = 2.0
    age_share: float = 0.3
    temperature: float = 0.1  # τ
    siblings: int = 2

    @property
    def form(self) -> InputForm:
        """The grey-matter map."""
        return InputForm("grey", step_mm=self.step_mm)

    @property
    def cubes(self) -> tuple[tuple[int, int], ...]:
        """First and last + 1 cube along x, y and z that the network reads."""
        return RELEASED_CUBES if self.step_mm == RELEASED_MM else box_cubes(self.step_mm)

    def released(self) -> AnatClRecipe:
        """In the size of the authors' weights."""
        return replace(self, step_mm=RELEASED_MM, width=64)


def box_cubes(step_mm: float) -> tuple[tuple[int, int], ...]:
    """First and last + 1 cube of `step_mm` along x, y and z that hold `BOX`."""
    return tuple((floor(a / step_mm), ceil(b / step_mm)) for a, b in BOX)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        PlaneRecipe(
            "first-light",
            planes=tuple(range(34, 126, 7)),
            pixel_mm=2.5,
            window=BRAIN,
            minutes=48.0,
        ),
        PlaneRecipe(
            "deepbrainprint",
            negatives="mined",
            views="augmented",
            optimiser="lars",
            steps=1800,  # 180 epochs of ten batches, as long as an epoch of 640 scans
            warmup=10 / 180,
        ),
        AnatClRecipe("anatcl", steps=1000),
        BrainIdRecipe("brain-id", steps=3000, step_mm=4, check_every=100),
    )
}
KINDS: dict[str, type[Recipe]] = {
    kind.method: kind for kind in (PlaneRecipe, BrainIdRecipe, AnatClRecipe)
}


def named_recipe(name: str, **changes: object) -> Recipe:
    """The recipe of that name with some fields changed; Misconfigured if there is none."""
    if name not in RECIPES:
        raise Misconfigured(
            f"no recipe is called {name}: choose one of {', '.join(RECIPES)}", code="unknown_recipe"
        )
    return replace(RECIPES[name], **changes)  # type: ignore[arg-type]


def changed(recipe: Recipe, words: Sequence[str]) -> Recipe:
    """The recipe with fields changed as `name=value`; a tuple's values are separated by commas.

    Misconfigured for a field that it has not, or a value that is not of its kind.
    """
    for word in words:
        name, _, text = word.partition("=")
        held = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
        if name not in held:
            raise Misconfigured(
                f"{recipe.name} has no {name}: choose one of {', '.join(held)}",
                code="unknown_hyperparameter",
            )
        try:
            value = _like(held[name], text)
            _refuse_unlisted(type(recipe), name, value)
            recipe = replace(recipe, **{name: value})
        except ValueError:
            raise Misconfigured(
                f"{name} is {held[name]!r} in {recipe.name}: {text!r} is not of that kind",
                code="wrong_hyperparameter",
            ) from None
    return recipe


def _like(held: Any, text: str) -> Any:
    """`text` as the kind of value that `held` is."""
    if isinstance(held, tuple):
        parts = [part for part in text.split(",") if part]
        return tuple(_like(held[0], part) if held else part for part in parts)
    return type(held)(text)


def _refuse_unlisted(kind: type[Recipe], name: str, value: object) -> None:
    hint = get_type_hints(kind)[name]
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise ValueError(value)


def recipe_from(document: Mapping[str, Any]) -> Recipe:
    """The recipe that a card holds; fields that it does not know keep their defaults."""
    kind = KINDS[document.get("method", PlaneRecipe.method)]
    known = {field.name for field in fields(kind)}
    return kind(**{name: _hard(value) for name, value in document.items() if name in known})


def _plain(value: object) -> object:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _hard(value: Any) -> Any:
    return tuple(_hard(part) for part in value) if isinstance(value, list) else value
