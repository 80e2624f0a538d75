"""Recipes: what `stillmotion train NAME` runs. A recipe is a function that returns a `Recipe`."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.recipes import (
    a5,
    actionclip,
    attentive_probe,
    evl,
    linear_probe,
    step,
    vificlip,
    xclip,
    zero_shot,
)
from stillmotion.recipes.base import Recipe

Maker = Callable[[], Recipe[Any]]

OWN_CLIPS: tuple[Maker, ...] = (
    evl.evl, step.step, attentive_probe.attentive_probe, a5.a5,
    vificlip.vificlip, xclip.xclip, actionclip.actionclip,
    linear_probe.linear_probe, linear_probe.single_frame, zero_shot.zero_shot,
)  # fmt: skip
PUBLISHED: tuple[Maker, ...] = (
    evl.evl_k400_b16_8f, evl.evl_k400_b16_16f, evl.evl_k400_b16_32f,
    evl.evl_k400_l14_8f, evl.evl_k400_l14_16f, evl.evl_k400_l14_32f, evl.evl_k400_l14_336_32f,
    evl.evl_ssv2_b16_8f, evl.evl_ssv2_b16_16f, evl.evl_ssv2_b16_32f,
    evl.evl_ssv2_l14_8f, evl.evl_ssv2_l14_32f, evl.evl_ssv2_l14_336_32f,
    vificlip.vificlip_k400, vificlip.vificlip_zero_shot,
    vificlip.vificlip_few_shot, vificlip.vificlip_base_to_novel,
    vificlip.vificlip_prompts_few_shot, vificlip.vificlip_prompts_base_to_novel,
    vificlip.image_ft_k400, vificlip.image_ft_zero_shot,
    vificlip.image_ft_few_shot, vificlip.image_ft_base_to_novel,
    vificlip.text_ft_k400, vificlip.text_ft_zero_shot,
    vificlip.text_ft_few_shot, vificlip.text_ft_base_to_novel,
    xclip.xclip_k400_b32_8f, xclip.xclip_k400_b32_16f, xclip.xclip_k400_b16_8f, xclip.xclip_k400_b16_16f,
    xclip.xclip_k400_l14_8f, xclip.xclip_k400_l14_336_16f,
    xclip.xclip_k600_b16_8f, xclip.xclip_k600_b16_16f, xclip.xclip_k600_l14_8f,
    xclip.xclip_zero_shot, xclip.xclip_few_shot, xclip.xclip_base_to_novel,
    actionclip.actionclip_k400_b32_8f, actionclip.actionclip_k400_b16_8f,
    actionclip.actionclip_k400_b16_16f, actionclip.actionclip_k400_b16_32f,
    actionclip.actionclip_ucf101, actionclip.actionclip_hmdb51,
    a5.a0_k400, a5.a1_k400, a5.a2_k400, a5.a3_k400, a5.a4_k400, a5.a5_k400, a5.a6_k400, a5.a7_k400,
    a5.a5_hmdb51,
)  # fmt: skip
RECIPES: dict[str, Maker] = {recipe.__name__: recipe for recipe in (*OWN_CLIPS, *PUBLISHED)}


def find(name: str) -> Recipe[Any]:
    """Return a recipe by name, or that of a function of your own, `my_module:my_recipe`.

    Raises:
        StillmotionError: there is none of that name, or the function needs arguments or returns something else.
    """
    if name in RECIPES:
        return RECIPES[name]()
    module, colon, function = name.partition(":")
    if not colon:
        raise StillmotionError(f"there is no method or recipe {name!r}{did_you_mean(name, RECIPES)}")
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
