"""A benchmark's table as a page: means, bars, every cell with its files, what was run, and the published numbers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stillmotion.progress import duration
from stillmotion.published.read import dataset_of
from stillmotion.report.beside import beside, same_method
from stillmotion.report.figures import COLORS, Level, bars_figure
from stillmotion.report.page import NOTHING, Bar, Cell, Links, Table, accuracy, facts, write_page
from stillmotion.report.switches import differing, settings
from stillmotion.report.tables import KEYS, Bench, Filled, read_bench

PAGE = "report.html"
CANNOT = "cannot"
TITLES = {"shots": "K", "set": "data", "part": "classes", "split": "data"}
PROTOCOLS = {
    "supervised": "Every method was trained on all training clips and tested on all test clips.",
    "few-shot": "Every method was trained on K clips of each class and tested on all test clips.",
    "base-to-novel": "Every method was trained on clips of the base classes; base and novel classes are tested apart, "
    "each among their own names. The harmonic mean is that of the two averages.",
    "zero-shot": "Every method was tested on sets that it was not trained on, among the class names of each set.",
}


def write_bench_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a benchmark, in its folder unless `page` says where, and return its path.
    Raises `StillmotionError`: the folder holds no table, a file of it is damaged, or the disk is full.
    """
    bench, page = read_bench(folder), page or folder / PAGE
    methods, sets = methods_of(bench), data_sets(bench)
    write_page(
        page,
        "bench",
        title=f"{bench.protocol}: {_several(methods, 'method')} on {named(bench, sets)}",
        about=PROTOCOLS.get(bench.protocol, ""),
        overview=overview(bench, sets),
        figures=figures(bench, methods),
        cannot=list(dict.fromkeys((one.row["method"], str(one.row.get("note", ""))) for one in _unfilled(bench))),
        notes=[(_name(one), str(one.row["note"])) for one in bench.rows if _filled(one) and one.row.get("note")],
        cells=cells(bench, page),
        published=[beside(bench, name, dataset, list(map(bench.method, methods))) for name, dataset in sets.items()],
        options=settings(bench),
        switches=differing(bench, methods),
        facts=facts(bench.origin),
        command=bench.origin.get("command", ""),
    )
    return page


def methods_of(bench: Bench) -> list[str]:
    """The methods as the table names them, in its order."""
    return list(dict.fromkeys(one.row["method"] for one in bench.rows))


def data_sets(bench: Bench) -> dict[str | None, str | None]:
    """By the sets that the summary tells apart, the published data sets that their clips are of."""
    sets: dict[str | None, str | None] = {}
    for line in bench.summary:
        sets[line["set"]] = sets.get(line["set"]) or data_set(bench, line)
    return sets


def data_set(bench: Bench, line: Mapping[str, Any]) -> str | None:
    """The published data set that a line's clips are of: by its manifest's name, else by the name of the file."""
    names = [one.dataset for one in bench.of(line)]
    names += [str(line["set"])] if line["set"] is not None else list(map(_stem, bench.origin.get("data", ())))
    return next(filter(None, map(dataset_of, names)), None)


def overview(bench: Bench, sets: Mapping[str | None, str | None]) -> Table:
    """A row for every line of the summary."""
    named = [name for name in ("set", "shots", "part") if any(line[name] is not None for line in bench.summary)]
    known = [
        same_method(bench.protocol, line, sets[line["set"]], bench.method(line["method"])) for line in bench.summary
    ]
    rows: list[tuple[Cell, ...]] = []
    for line, paper in zip(bench.summary, known):
        std, mean = line["std"], line["mean_class"]
        rows.append(
            (
                str(line["method"]),
                *(NOTHING if line[name] is None else str(line[name]) for name in named),
                CANNOT if line["top1"] is None else Bar(f"{100 * line['top1']:.1f} %", line["top1"]),
                NOTHING if std is None else f"{100 * std:.1f}",
                NOTHING if mean is None else f"{100 * mean:.1f} %",
                str(line["rows"]),
                *((paper or NOTHING,) if any(known) else ()),
            )
        )
    head = ("method", *(TITLES[name] for name in named), "top-1, mean", "std", "mean class", "cells")
    return Table((*head, *(("published",) if any(known) else ())), rows)


def figures(bench: Bench, methods: Sequence[str]) -> list[str]:
    """A bar plot for every setting (set, shots, half of the classes), with a bar for every method."""
    found: dict[tuple[Any, ...], list[Level]] = {}
    for line in bench.summary:
        rows = bench.of(line) if line["part"] != "harmonic mean" else []
        ends = [one.row["interval"] for one in rows if one.row["interval"] is not None]
        interval = tuple(sum(values) / len(ends) for values in zip(*ends)) if len(ends) == len(rows) and ends else None
        points = tuple(one.row["top1"] for one in rows if one.row["top1"] is not None)
        level = Level(line["method"], line["top1"], interval, points, CANNOT)
        found.setdefault((line["set"], line["shots"], line["part"]), []).append(level)
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(methods)}
    return [
        bars_figure(f"{_setting(*key)}, top-1 in %", levels, [colors[one.name] for one in levels])
        for key, levels in found.items()
    ]


def cells(bench: Bench, page: Path) -> Table:
    """Every row with its files; top-5 where there are more than five classes."""
    five = any(one.classes > 5 for one in bench.rows)
    named = [name for name in KEYS if any(one.row["cell"][name] is not None for one in bench.rows)]
    rows: list[tuple[Cell, ...]] = []
    for one in bench.rows:
        row = one.row
        has, skipped = _filled(one), f" ({row['skipped']} unreadable)" if row["skipped"] else ""
        top5 = f"{100 * row['top5']:.1f} %" if has and one.classes > 5 else NOTHING
        rows.append(
            (
                str(row["method"]),
                *(NOTHING if row["cell"][name] is None else str(row["cell"][name]) for name in named),
                accuracy(row["top1"], tuple(row["interval"])) if has else CANNOT,
                *((top5,) if five else ()),
                f"{100 * row['mean_class']:.1f} %" if has else NOTHING,
                f"{row['videos']}{skipped}" if has else NOTHING,
                duration(row["seconds"]) if has else NOTHING,
                f"{row['peak_memory_mb']:,.0f} MB" if has else NOTHING,
                Links(tuple((_short(name), _link(one, name, page)) for name in one.files)),
            )
        )
    head = ("method", *(TITLES.get(name, name) for name in named), "top-1 (95 % interval)")
    more = ("mean class", "videos", "time", "memory", "files")
    return Table((*head, *(("top-5",) if five else ()), *more), rows, open_rows=len(rows))


def _setting(name: str | None, shots: int | None, part: str | None) -> str:
    words = (name, None if shots is None else f"K = {shots}", part)
    return ", ".join(filter(None, words)) or "all classes"


def named(bench: Bench, sets: Mapping[str | None, str | None]) -> str:
    """What the clips are of, in a word or a few."""
    stems = list(map(_stem, bench.origin.get("data", ())))
    if sets.keys() == {None}:
        return sets[None] or ", ".join(stems) or bench.folder.resolve().name
    return _several([str(name) for name in sets], "set")


def _several(names: Sequence[str], what: str) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {what}s" if len(names) > 3 else ", ".join(names)


def _stem(path: str) -> str:
    name = Path(path).name
    return Path(name).stem if Path(name).suffix in (".jsonl", ".parquet", ".csv", ".txt") else name


def _short(file: str) -> str:
    return file.partition(".")[0]


def _name(one: Filled) -> str:
    return " ".join(str(x) for x in (one.row["method"], *one.row["cell"].values()) if x is not None)


def _link(one: Filled, name: str, page: Path) -> str:
    assert one.folder is not None
    return quote(Path(os.path.relpath(one.folder / name, page.parent)).as_posix())


def _filled(one: Filled) -> bool:
    return one.row["top1"] is not None


def _unfilled(bench: Bench) -> list[Filled]:
    return [one for one in bench.rows if not _filled(one)]
