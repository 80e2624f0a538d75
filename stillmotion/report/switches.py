"""Settings of a benchmark's methods, as its cells have them: what is the same, and what differs between methods."""

from collections.abc import Sequence
from typing import Any

from stillmotion.report.page import NOTHING, Cell, Table
from stillmotion.report.runs import flat
from stillmotion.report.tables import Bench

PLACES = ("data.data", "data.val", "data.root", "data.labels", "data.text_features", "recipe.train.seed")
"""Settings that differ from cell to cell of one method, or say only where things lie."""

METHOD = "recipe.method.name"


def settings(bench: Bench) -> list[tuple[str, str]]:
    """The options that hold for the whole table and were given."""
    return [(_option(name), _text(value)) for name, value in bench.options.items() if value not in (None, False)]


def differing(bench: Bench, methods: Sequence[str]) -> Table:
    """A row for every setting that two methods have, each with another value, and a column for every method."""
    every = {name: _settings(bench, name) for name in methods}
    names = dict.fromkeys(name for found in every.values() for name in found)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        values = [found.get(name) for found in every.values()]
        if len({value for value in values if value is not None}) > 1:
            rows.append(
                (
                    "method" if name == METHOD else _option(name.rpartition(".")[2]),
                    *(NOTHING if x is None else x for x in values),
                )
            )
    return Table(("setting", *methods), rows, open_rows=len(rows))


def _settings(bench: Bench, method: str) -> dict[str, str]:
    for one in bench.rows:
        if one.row["method"] == method and "recipe" in one.config:
            found = flat({name: one.config.get(name, {}) for name in ("recipe", "data")})
            return {name: _text(value) for name, value in found if name not in PLACES}
    return {}


def _option(name: str) -> str:
    return name.replace("_", "-")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value)) if all(not isinstance(x, dict) for x in value) else f"{len(value)} parts"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
