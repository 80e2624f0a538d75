"""`stillmotion bench PROTOCOL METHOD... --data CLIPS`: several methods on the same clips, as one table."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from stillmotion.auto import Auto
from stillmotion.bench.cells import Contender
from stillmotion.bench.options import PROTOCOLS, Bench
from stillmotion.cli.parse import parse, split_options
from stillmotion.cli.table import show
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.recipes import find
from stillmotion.recipes.base import Recipe, values_of

USAGE = """usage: stillmotion bench PROTOCOL METHOD... --data CLIPS [options]

  supervised     train on all training clips, test on all test clips
  few-shot       train on K clips of each class (--shots 2 4 8 16)
  base-to-novel  train on 16 clips of each base class, test base and novel classes apart
  zero-shot      train on one set (--train), or not at all; test on others

METHOD is a recipe (`stillmotion list recipes`) or auto; with options of its own, and a name, in quotes:
"image-FT = vificlip --tuned image". Options of a recipe, as `stillmotion train` has them, go to every method that has
them.

stillmotion bench PROTOCOL --help shows the other options.
"""
_NAME = re.compile(r"(?=\w)[\w.+@ -]{1,60}")


def run(words: Sequence[str]) -> None:
    """Fill the table, print it, and say where it is."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        raise SystemExit(0 if words else 2)
    protocol = next((name for name in PROTOCOLS if name == words[0]), None)
    if protocol is None:
        raise StillmotionError(f"there is no protocol {words[0]!r}{did_you_mean(words[0], PROTOCOLS)}")
    methods, options, more = _sorted(words[1:], protocol)
    from stillmotion.bench.plan import plan
    from stillmotion.bench.run import run as fill

    contenders = _contenders(methods, more)
    table = fill(protocol, options, plan(protocol, options, contenders))
    _show(table.to_dict()["summary"])
    if options.report:
        from stillmotion.run_report import write_bench_report

        if page := write_bench_report(options.out):
            print(page)
    print(options.out / "table.json")


def _sorted(words: Sequence[str], protocol: str) -> tuple[list[str], Bench, list[tuple[str, list[str]]]]:
    """The methods, the options of the benchmark, and those that are for methods."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    methods, rest = list(words[:first]), words[first:]
    own = get_type_hints(Bench)
    mine: list[str] = []
    more: list[tuple[str, list[str]]] = []
    for option, values in split_options(rest):
        name = option.removeprefix("--").replace("-", "_")
        bare = name.removeprefix("no_")
        if own.get(bare) == bool | None and not values:  # tyro wants a word behind an option that may be None
            mine += [f"--{bare.replace('_', '-')}", str(bare == name)]
        elif name in own or bare in own or option == "--help":
            mine += [option, *values]
        else:
            more.append((option, values))
    options: Bench = parse(Bench, mine, f"stillmotion bench {protocol}")
    if not methods:
        raise StillmotionError(f"name methods behind the protocol: stillmotion bench {protocol} linear_probe evl ...")
    return methods, options, more


def _contenders(methods: Sequence[str], shared: Sequence[tuple[str, list[str]]]) -> list[Contender]:
    """Every method with its options. Raises `StillmotionError`: an option that none of them has, or a name twice."""
    found, used = [], set[str]()
    for method in methods:
        name, equals, rest = method.partition("=")
        try:
            recipe, *own = shlex.split(rest if equals else method)
        except ValueError as error:
            raise StillmotionError(
                f'cannot read the method {method!r} ({error}); write "NAME = RECIPE --option value"'
            ) from error
        contender, taken = _contender((name if equals else method).strip(), recipe, own, shared)
        found.append(contender)
        used |= taken
    for option, _ in shared:
        if option not in used:
            known = {f"--{name.replace('_', '-')}" for one in found for name in values_of(one.recipe)}
            known |= {f"--{f.name.replace('_', '-')}" for f in fields(Bench)}
            raise StillmotionError(f"none of these methods has an option {option}{did_you_mean(option, known)}")
    for one in found:
        if not _NAME.fullmatch(one.name):
            raise StillmotionError(
                f"{one.name!r} names no folder; give the method a name of at most 60 letters, digits, spaces and ._+-@"
            )
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise StillmotionError(
            f'method {twice!r} is named twice; give one another name: "NAME = {twice} --option value"'
        )
    return found


def _contender(
    name: str, recipe: str, own: Sequence[str], shared: Sequence[tuple[str, list[str]]]
) -> tuple[Contender, set[str]]:
    default: Any = Auto() if recipe == "auto" else find(recipe)
    known = values_of(default)
    mine = split_options(own)
    start = next((values for option, values in mine if option == "--start-from"), None)
    mine = [pair for pair in mine if pair[0] != "--start-from"]
    given = [option for option, _ in mine]
    taken = [pair for pair in shared if _field(pair[0]) in known and pair[0] not in given]
    words = [word for option, values in (*taken, *mine) for word in (option, *values)]
    kind: Any = Auto if recipe == "auto" else Recipe[type(default.method)]  # type: ignore[misc]
    parsed = parse(kind, words, f"stillmotion bench ... {recipe}", default)
    if start is not None and len(start) != 1:
        raise StillmotionError(f"--start-from of {name} takes one trained model.safetensors")
    fields_given = tuple(_field(option) for option, _ in (*taken, *mine))
    made = Contender(name=name, recipe=parsed, start_from=Path(start[0]) if start else None, given=fields_given)
    return made, {option for option, _ in shared if _field(option) in known}


def _field(option: str) -> str:
    return option.removeprefix("--").removeprefix("no-").replace("-", "_")


def _show(summary: Sequence[dict[str, Any]]) -> None:
    named = [name for name in ("shots", "set", "part") if any(line[name] is not None for line in summary)]
    rows = []
    for line in summary:
        top1 = "cannot" if line["top1"] is None else f"{100 * line['top1']:.1f} %"
        spread = "" if line["std"] is None else f"{100 * line['std']:.1f}"
        rows.append(
            [line["method"], *("" if line[n] is None else str(line[n]) for n in named), top1, spread, str(line["rows"])]
        )
    show(("method", *named, "top-1", "std", "cells"), rows, words=1)
