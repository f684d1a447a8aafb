"""Recipes by name, changed by a person, kept in a card and read back."""

from __future__ import annotations

import json

import pytest

from deepbrainprint.encoder.recipe import RECIPES, changed, named_recipe, recipe_from
from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import InputForm


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_comes_back_from_a_card_as_it_was(recipe):
    assert recipe_from(json.loads(json.dumps(recipe.as_json()))) == recipe


def test_fields_are_changed_by_words_of_their_kind():
    recipe = changed(
        named_recipe("deepbrainprint"),
        ["beta=step", "seed=3", "pixel_mm=2", "planes=60,90", "transforms="],
    )
    assert (recipe.beta, recipe.seed, recipe.pixel_mm) == ("step", 3, 2.0)
    assert (recipe.planes, recipe.transforms) == ((60, 90), ())


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("betta=step", "has no betta: choose one of name, steps"),
        ("beta=sudden", "beta is 'linear' in deepbrainprint: 'sudden' is not of that kind"),
        ("seed=three", "seed is 20261121"),
        ("planes=a,b", "planes is"),
    ],
)
def test_what_does_not_fit_is_named(word, says):
    with pytest.raises(Misconfigured, match=says):
        changed(named_recipe("deepbrainprint"), [word])


def test_a_form_knows_its_shape():
    assert InputForm("planes", (60, 90)).shape == (2, 182, 218)
    assert InputForm("volume", step_mm=3).shape == (60, 60, 72)
