"""The candidates of `stillmotion train auto`: heads on one frozen backbone, cheap ones first."""

from dataclasses import replace

from stillmotion.methods import EVL
from stillmotion.recipes.attentive_probe import attentive_probe
from stillmotion.recipes.base import Maker, Recipe
from stillmotion.recipes.change_probe import change_probe
from stillmotion.recipes.evl import evl
from stillmotion.recipes.linear_probe import linear_probe
from stillmotion.recipes.step import step


def evl_appearance() -> Recipe[EVL]:
    """EVL without temporal modules: four blocks, no order of frames."""
    recipe = evl()
    return replace(recipe, method=replace(recipe.method, conv=False, positions=False, cross_attention=False))


def evl_motion() -> Recipe[EVL]:
    """EVL whose temporal modules start loud: for tasks that the direction of time decides."""
    recipe = evl()
    return replace(recipe, method=replace(recipe.method, init="motion"))


CANDIDATES: dict[str, Maker] = {
    "linear_probe": linear_probe,
    "change_probe": change_probe,
    "step": step,
    "attentive_probe": attentive_probe,
    "evl without modules": evl_appearance,
    "evl identity": evl,
    "evl motion": evl_motion,
}

COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("attentive_probe", "change_probe"),
    ("evl without modules", "change_probe"),
    ("evl without modules", "step"),
    ("evl without modules", "evl motion"),
)
"""Averages worth looking at, of heads that are trained anyway: one that sees no order, and one that does."""
