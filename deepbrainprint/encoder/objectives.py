"""From a recipe to what it trains."""

from __future__ import annotations

from collections.abc import Sequence

from deepbrainprint.encoder.anatcl import AnatClObjective
from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.brain_id import BrainIdObjective
from deepbrainprint.encoder.recipe import AnatClRecipe, BrainIdRecipe, PlaneRecipe, Recipe
from deepbrainprint.encoder.training import Objective
from deepbrainprint.encoder.two_branches import TwoBranches


def objective_of(
    recipe: Recipe, anatomies: Sequence[Anatomy], held_out: Sequence[Anatomy]
) -> Objective:
    """What `recipe` learns from people generated out of `anatomies`, checked on `held_out`."""
    match recipe:
        case PlaneRecipe():
            return TwoBranches(recipe, anatomies, held_out)
        case BrainIdRecipe():
            return BrainIdObjective(recipe, anatomies, held_out)
        case AnatClRecipe():
            return AnatClObjective(recipe, anatomies, held_out)
        case _:
            raise TypeError(f"nothing trains a {type(recipe).__name__}")
