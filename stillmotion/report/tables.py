"""What a benchmark left in its folder, read back: its table, and of every cell the files, settings and classes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.data.set_names import set_of
from stillmotion.errors import DataError
from stillmotion.report.runs import Json, read_json

TABLE = "table.json"
FILES = ("results.json", "predictions.jsonl", "config.json", "cell.json")
KEYS = ("shots", "seed", "split", "part")


@dataclass(frozen=True)
class Filled:
    """One row of the table, with what its folder says (None and empty where that is gone).

    dataset: as its manifest names the data set; classes: how many it was scored among.
    """

    row: Json
    folder: Path | None = None
    config: Json = field(default_factory=dict)
    dataset: str = ""
    classes: int = 0

    @property
    def files(self) -> list[str]:
        """Names of its files that are there."""
        return [] if self.folder is None else [name for name in FILES if (self.folder / name).is_file()]


@dataclass(frozen=True)
class Bench:
    """A benchmark's folder.

    summary: lines of the table; origin: command, versions, machine, and the data that it was given; options: those
    that decide numbers.
    """

    folder: Path
    protocol: str
    rows: Sequence[Filled]
    summary: Sequence[Json]
    origin: Json
    options: Json

    def method(self, name: str) -> str:
        """The method behind a name of the table, `evl` of `evl_k400_b16_8f`; a name of the user's own stays."""
        kinds = (one.config.get("recipe", {}).get("method", {}).get("name") for one in self.rows
                 if one.row["method"] == name)  # fmt: skip
        kind = next(filter(None, kinds), name)
        return kind if name.startswith(kind) else name

    def of(self, line: Mapping[str, Any]) -> list[Filled]:
        """The rows that a line of the summary is the mean of; of a harmonic mean those of both halves."""
        return [
            one
            for one in self.rows
            if one.row["method"] == line["method"]
            and one.row["cell"]["shots"] == line["shots"]
            and (line["part"] == "harmonic mean" or one.row["cell"]["part"] == line["part"])
            and set_of(one.row["cell"]["split"]) == line["set"]
        ]


def is_bench(folder: Path) -> bool:
    """Whether a benchmark wrote this folder."""
    return (folder / TABLE).is_file() and (folder / "cells").is_dir()


def read_bench(folder: Path) -> Bench:
    """Read a benchmark's folder. Raises `StillmotionError`: there is no table, or a file is damaged."""
    table = read_json(folder / TABLE)
    try:
        rows, summary, protocol = list(table["rows"]), list(table["summary"]), str(table["protocol"])
        folders = _folders(folder)
        filled = [_filled(folder, row, folders.get(_key(row))) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / TABLE} is no table of a benchmark ({error!r:.100}); run it again") from error
    options = read_json(folder / "cells" / "config.json").get("options", {})
    return Bench(folder, protocol, filled, summary, read_json(folder / "origin.json"), options)


def _folders(folder: Path) -> dict[str, Path]:
    """The folders of finished cells, by what they hold."""
    found = sorted((folder / "cells").glob("*/cell.json"))
    return {_key(read_json(path)): path.parent for path in found}


def _key(row: Json) -> str:
    return json.dumps([row["method"], [row["cell"][name] for name in KEYS]])


def _filled(folder: Path, row: Json, place: Path | None) -> Filled:
    if place is None:
        return Filled(row)
    config, numbers = read_json(place / "config.json"), read_json(place / "results.json")
    manifest = Path(str(config.get("data", {}).get("data", ""))).name
    return Filled(row, place, config, _dataset(folder / "splits" / manifest), len(numbers.get("classes", ())))


def _dataset(manifest: Path) -> str:
    """The name of the data set in the first line of a manifest; `folder` is none."""
    if manifest.suffix != ".jsonl" or not manifest.is_file():
        return ""
    with manifest.open(encoding="utf-8") as file:
        name = str(json.loads(file.readline()).get("dataset", ""))
    return "" if name == "folder" else name
