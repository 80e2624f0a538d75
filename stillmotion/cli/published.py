"""`stillmotion results`: published numbers as a table, CSV, JSON, or a plot. (`cli/results.py` is files of results.)"""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError

if TYPE_CHECKING:
    from stillmotion.published.read import Number


@dataclass(frozen=True, kw_only=True)
class Results:
    """Show numbers that papers and releases print, with what is wrong in them. All options narrow the choice."""

    data: str | None = None
    """Data set: UCF101, HMDB51, K400, K600, K700, SSv2, ActivityNet, Charades."""
    setting: str | None = None
    """supervised, zero-shot, base-to-novel, few-shot, or cost (parameters, time, memory)."""
    method: str | None = None
    """EVL, ViFi-CLIP, X-CLIP, ..."""
    backbone: str | None = None
    """b16, l14, l14@336, or a name as the table shows it."""
    metric: str | None = None
    """top-1, top-5, base, novel, HM, mAP; of costs parameters, throughput, ..."""
    shots: int | None = None
    """Training clips of each class."""
    source: str | None = None
    """Where it is printed: "EVL, table 1"."""
    unverified: bool = False
    """Show numbers from memory too, which nobody has looked up."""
    csv: bool = False
    """Print CSV."""
    json: bool = False
    """Print a JSON list."""
    plot: Path | None = None
    """Draw accuracy against GFLOPs, printed and of our own count: a file that ends in .png, .svg or .html."""

    def __post_init__(self) -> None:
        if self.csv and self.json:
            raise StillmotionError("--csv and --json are two forms; pass one")


def run(words: Sequence[str]) -> None:
    """Choose, and print or draw."""
    options: Results = parse(Results, words, "stillmotion results")
    from stillmotion.progress import say

    rows = chosen(options)
    left_out = 0
    if not options.unverified:
        known = [row for row in rows if row.status != "unverified"]
        rows, left_out = known, len(rows) - len(known)
    if not rows:
        raise StillmotionError(f"all {left_out} of these numbers are from memory; --unverified shows them")
    if options.plot is not None:
        plot(options, rows)
    if options.json:
        print(json.dumps([row.to_dict() for row in rows], indent=1))
    elif options.csv:
        from stillmotion.published.read import FIELDS

        writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.to_dict() for row in rows)
    elif options.plot is None:
        show_numbers(rows)
    if left_out:
        say(f"{left_out} number{'s' * (left_out > 1)} from memory left out; --unverified shows them")


def chosen(options: Results) -> "list[Number]":
    """The numbers that the options name. Raises `StillmotionError`: there are none."""
    from stillmotion.published.read import published, select

    names = ("setting", "method", "backbone", "metric", "shots", "source")
    return select(published(), dataset=options.data, **{name: getattr(options, name) for name in names})


def plot(options: Results, rows: "Sequence[Number]") -> None:
    """Draw what has a cost; of several metrics, top-1."""
    from stillmotion.published.counted import counted
    from stillmotion.published.plot import check_plot, write_plot

    assert options.plot is not None
    check_plot(options.plot)
    if options.metric is None:
        rows = [row for row in rows if row.metric == "top-1"]
    data = {row.dataset for row in rows}
    if len(data) != 1:
        raise StillmotionError(f"a plot shows one data set, not {len(data)}; pass --data and, if need be, --metric")
    settings = ", ".join(sorted({row.setting for row in rows}))
    write_plot(options.plot, rows, counted(rows), f"{data.pop()}, {settings}")
    print(options.plot)


def show_numbers(rows: "Sequence[Number]") -> None:
    """Print a table of what differs between the rows, under what is the same in all, above the notes."""
    from stillmotion.cli.table import show
    from stillmotion.published.read import varying

    words = ("method", "backbone", "dataset", "setting", "split", "pretrained", "variant", "source", "status")
    numbers = ("shots", "frames", "views", "metric")
    differing, same = varying(rows, (*words, *numbers))
    if same:
        print(", ".join(f"{_TITLES.get(name, name)}: {value}" for name, value in same.items()))
    named = ["method", *(n for n in words if n in differing and n not in ("method", "status"))]
    counts = [n for n in numbers if n in differing]
    costs = any(row.gflops is not None for row in rows)
    notes = list(dict.fromkeys(_remark(row) for row in rows if _remark(row)))
    place = {note: f"[{i}]" for i, note in enumerate(notes, 1)}
    lines = []
    for row in rows:
        spread = "" if row.spread is None else f" \N{PLUS-MINUS SIGN} {row.spread:g}"
        cells = [*(str(getattr(row, name)) for name in named), *(_text(getattr(row, name)) for name in counts)]
        cells += [f"{row.value:g}" if row.value != round(row.value, 1) else f"{row.value:.1f}", spread.strip()]
        cells += [_text(row.gflops) + (f" a {row.gflops_per}" if row.gflops else "")] if costs else []
        lines.append([*cells, place.get(_remark(row), "").replace("[", r"\[")])
    header = [_TITLES.get(name, name) for name in (*named, *counts)]
    show([*header, "value", "", *(["GFLOPs"] if costs else []), ""], lines, words=len(named), wide=True)
    for note in notes:
        print(f"{place[note]} {note}")


_TITLES = {"dataset": "data", "pretrained": "trained before on", "shots": "K"}


def _remark(row: "Number") -> str:
    return ": ".join(filter(None, (row.status, row.note)))


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
