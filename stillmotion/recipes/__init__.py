"""Recipes: what `stillmotion train NAME` runs. A recipe is a function without arguments that returns a `Recipe`."""

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.recipes import (
    a5,
    actionclip,
    attentive_probe,
    change_probe,
    evl,
    linear_probe,
    step,
    vificlip,
    xclip,
    zero_shot,
)
from stillmotion.recipes.base import Maker, Recipe

OWN_CLIPS: tuple[Maker, ...] = (
    evl.evl, step.step, attentive_probe.attentive_probe, change_probe.change_probe, a5.a5,
    vificlip.vificlip, xclip.xclip, actionclip.actionclip,
    linear_probe.linear_probe, linear_probe.single_frame, zero_shot.zero_shot,
)  # fmt: skip
PUBLISHED = tuple(maker for module in (evl, vificlip, xclip, actionclip, a5) for maker in module.PUBLISHED)
RECIPES: dict[str, Maker] = {recipe.__name__: recipe for recipe in (*OWN_CLIPS, *PUBLISHED)}


def find(name: str) -> Recipe[Any]:
    """Return a recipe by name, or that of a function of your own, `my_module:my_recipe`.

    Raises `StillmotionError`: there is none of that name, or the function needs arguments or returns something else.
    """
    if name in RECIPES:
        return RECIPES[name]()
    module, colon, function = name.partition(":")
    if not colon:
        own = "" if os.environ.get("STILLMOTION_IMPORT") else "; one of your own needs STILLMOTION_IMPORT=MODULE"
        raise StillmotionError(f"there is no method or recipe {name!r}{did_you_mean(name, RECIPES)}{own}")
    if str(Path.cwd()) not in sys.path:  # a module of one's own lies where one works
        sys.path.insert(0, str(Path.cwd()))
    try:
        maker = getattr(importlib.import_module(module), function)
        inspect.signature(maker).bind()
        found = None if inspect.isbuiltin(maker) else maker()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise StillmotionError(f"cannot import recipe {name!r} ({error}); name a function without arguments") from error
    if not isinstance(found, Recipe):
        raise StillmotionError(f"recipe {name!r} returns a {type(found).__name__}; return a Recipe")
    return found
