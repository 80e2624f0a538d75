"""`stillmotion train RECIPE`: from labeled videos to one file."""

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from stillmotion.cli import auto
from stillmotion.cli.parse import parse
from stillmotion.cli.table import show_model
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError
from stillmotion.recipes import OWN_CLIPS, PUBLISHED, RECIPES, find
from stillmotion.recipes.base import HERE, Place, Recipe

TrainOptions = tuple[Recipe[Any], Data, Place]


def run(words: Sequence[str]) -> None:
    """Train and say where the model is."""
    from stillmotion.experiment import fit

    if words[:1] == ["auto"]:
        auto.run(words[1:])
        return
    name, options = read_options("train", words)
    result = fit(*options, name)
    print(result.report)
    if result.report.order is not None:
        print(f"order: {result.report.order}")
    show_model(result.folder.model, options[2].report)


def read_options(command: str, words: Sequence[str]) -> tuple[str, TrainOptions]:
    """Read a recipe's name and the options that change it; returns the name for the folder, and the options."""
    if not words:
        raise StillmotionError(
            f"RECIPE is missing: stillmotion {command} evl --data VIDEOS; see stillmotion {command} --help"
        )
    if words[0] in ("-h", "--help"):
        print(_usage(command))
        raise SystemExit(0)
    if words[0].startswith("-"):
        raise StillmotionError(f"name a recipe before the options: stillmotion {command} evl --data VIDEOS")
    found = find(words[0])
    kind: Any = Recipe[type(found.method)]  # type: ignore[misc]  # its own method's fields become options

    def options(*, data: Data, recipe: kind = found, place: Place = HERE) -> TrainOptions:
        """One training run, from videos to a model."""
        return recipe, data, place

    return words[0].replace(":", "."), parse(options, words[1:], f"stillmotion {command} {words[0]}")


def _usage(command: str) -> str:
    own = "\n".join(f"  {recipe.__name__:16} {summary(recipe.__name__)}" for recipe in OWN_CLIPS)
    families = groupby(PUBLISHED, lambda recipe: type(recipe().method))
    published = "\n".join(
        textwrap.fill(", ".join(r.__name__ for r in family), 116, initial_indent="  ", subsequent_indent="    ")
        for _, family in families
    )
    return (
        f"usage: stillmotion {command} RECIPE --data VIDEOS [options]\n\n"
        + ("  auto             Chooses among the heads below, and says why.\n\n" if command == "train" else "")
        + f"for your own clips\n{own}\n\n"
        f"of published numbers, which `stillmotion list recipes` shows\n{published}\n\n"
        f"stillmotion {command} RECIPE --help shows the options of a recipe."
    )


def summary(name: str) -> str:
    """First line of a recipe's docstring."""
    return (RECIPES[name].__doc__ or "").splitlines()[0]
