"""`stillmotion sweep RECIPE --lr 1e-4 4e-4 --seed 0 1 2`: many settings over the same passes of the cache."""

import itertools
from collections.abc import Sequence
from typing import Any

from stillmotion.cli.parse import split_options
from stillmotion.cli.table import show, show_model
from stillmotion.cli.train import read_options
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.recipes import find
from stillmotion.recipes.base import Place, Recipe, values_of


def run(words: Sequence[str]) -> None:
    """Train every combination, print the table, and say where the best model is."""
    from stillmotion.sweep import sweep

    if not words or words[0].startswith("-"):
        read_options("sweep", words)
    settings, data, place = _settings(words)
    rows = sweep(settings, data, place, f"{words[0].replace(':', '.')}-sweep")
    several = any(row.spread is not None for row in rows)
    names = [*rows[0].values] or ["setting"]
    lines = []
    for row in rows:
        spread = "" if row.spread is None else f"{100 * row.spread:.1f}"
        more = (spread, str(len(row.results))) if several else ()
        cost = f"{row.results[0].trained_parameters:,}", f"{sum(r.seconds for r in row.results):.0f} s"
        lines.append((*(row.values.get(n, "") for n in names), f"{100 * row.mean:.1f} %", *more, *cost))
    header = (*names, "top-1", *(("spread", "runs") if several else ()), "trained parameters", "training")
    show(header, lines, words=0)
    show_model(max(rows[0].results, key=lambda r: r.report.top1).folder.model)


def _settings(words: Sequence[str]) -> tuple[list[tuple[dict[str, str], Recipe[Any]]], Data, Place]:
    """Every combination of the values given, as the recipe that it makes."""
    types = values_of(find(words[0]))
    listed = {name for name, hint in types.items() if "tuple" in str(hint)}  # they take several values at once
    fixed: list[str] = [words[0]]
    axes: dict[str, list[str]] = {}
    for option, values in split_options(words[1:]):
        name = option.removeprefix("--").replace("-", "_")
        if len(values) < 2 or name in listed:
            fixed += [option, *values]
        elif name in types:
            axes[option] = values
        else:
            near = did_you_mean(name, types)
            near = near.replace("_", "-") if near.startswith("; did") else ", such as --lr or --seed"
            raise StillmotionError(f"{option} has {len(values)} values; several are for fields of the recipe{near}")
    settings, parsed = [], None
    for chosen in itertools.product(*axes.values()):
        pairs = dict(zip(axes, chosen))
        _, parsed = read_options("sweep", [*fixed, *itertools.chain(*pairs.items())])
        settings.append(({option.removeprefix("--"): value for option, value in pairs.items()}, parsed[0]))
    if len(settings) < 2 or parsed is None:
        raise StillmotionError("there is one setting; give several values: stillmotion sweep evl --lr 1e-4 4e-4 1e-3")
    return settings, parsed[1], parsed[2]
