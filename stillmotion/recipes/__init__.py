"""Recipes: what `stillmotion train NAME` runs. A recipe is a function from a data path to a `Run`."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.recipes import attentive_probe, evl, linear_probe, step, vificlip, zero_shot
from stillmotion.recipes.base import Run

Recipe = Callable[[Path], Run[Any]]

RECIPES: dict[str, Recipe] = {
    recipe.__name__: recipe
    for recipe in (
        attentive_probe.attentive_probe,
        evl.evl,
        evl.evl_k400_b16_8f,
        evl.evl_ssv2_b16_8f,
        linear_probe.linear_probe,
        linear_probe.single_frame,
        step.step,
        vificlip.vificlip,
        vificlip.vificlip_k400,
        vificlip.vificlip_zero_shot,
        zero_shot.zero_shot,
    )
}


def find(name: str) -> Recipe:
    """Return a recipe by name, or one of your own as `my_module:my_recipe`.

    Raises:
        StillmotionError: there is none of that name.
    """
    if name in RECIPES:
        return RECIPES[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise StillmotionError(f"there is no method or recipe {name!r}{did_you_mean(name, RECIPES)}")
    try:
        recipe: Recipe = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise StillmotionError(f"cannot import recipe {name!r} ({error}); write MODULE:FUNCTION") from error
    return recipe
