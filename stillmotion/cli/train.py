"""`stillmotion train RECIPE`: from labeled videos to one file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError
from stillmotion.recipes import RECIPES, find
from stillmotion.recipes.base import Run


def run(words: Sequence[str]) -> None:
    """Train and say where the model is."""
    from stillmotion.experiment import fit
    from stillmotion.train.loop import Stopped

    name, config = read_run("train", words)
    try:
        result = fit(config, name)
    except Stopped as stop:
        raise KeyboardInterrupt(str(stop)) from stop
    print(result.report)
    print(f"{result.folder.model}\nstillmotion predict {result.folder.model} VIDEO")


def read_run(command: str, words: Sequence[str]) -> tuple[str, Run[Any]]:
    """Read a recipe's name and the options that change it; returns the name for the folder, and the run."""
    if not words or words[0] in ("-h", "--help"):
        names = "\n".join(f"  {name:20} {summary(name)}" for name in RECIPES)
        print(f"usage: stillmotion {command} RECIPE --data VIDEOS [options]\n\n{names}\n\n"
              f"stillmotion {command} RECIPE --help shows the options of a recipe.")  # fmt: skip
        raise SystemExit(0 if words else 2)
    if words[0].startswith("-"):
        raise StillmotionError(f"name a recipe before the options: stillmotion {command} evl --data VIDEOS")
    base = find(words[0])(Path())
    base = replace(base, data=replace(base.data, data=tyro.MISSING))
    config: Run[Any] = parse(Run[type(base.method)], words[1:], f"stillmotion {command} {words[0]}", base)  # type: ignore[misc]
    return words[0].replace(":", "."), config


def summary(name: str) -> str:
    """First line of a recipe's docstring."""
    return (RECIPES[name].__doc__ or "").splitlines()[0]
