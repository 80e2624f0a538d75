"""What all pages are made of: tables with bars, a confusion matrix, facts, and the templates that draw them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stillmotion.eval.report import Report
from stillmotion.files import atomic_write
from stillmotion.version import __version__


@dataclass(frozen=True)
class Bar:
    """A number with a bar under it, `share` of the cell long, in [0, 1]; its interval is drawn on it."""

    text: str
    share: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Links:
    """Files that a cell names: their texts, and where they lie from the page."""

    files: tuple[tuple[str, str], ...]


Cell = str | Bar | Links
NOTHING = "\N{EN DASH}"
"""Stands for a number that there is not."""


@dataclass(frozen=True)
class Table:
    """Rows of text and bars; the row `best` is marked; of many, `open_rows` are shown and the others can be opened."""

    header: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    best: int | None = None
    open_rows: int = 40


@dataclass(frozen=True)
class Confusion:
    """Counts of predicted (columns) against true classes (rows): the cells that are not empty, in an order of classes.

    cells: row, column, videos, and their part of the row's, in [0, 1].
    """

    classes: tuple[str, ...]
    cells: tuple[tuple[int, int, int, float], ...]

    @property
    def labeled(self) -> bool:
        """Whether there is room for names and counts."""
        return len(self.classes) <= 40

    @property
    def narrow(self) -> bool:
        """Whether it can be read beside something else."""
        return self.margin + 34 * len(self.classes) <= 700 or not self.labeled

    @property
    def side(self) -> float:
        """Of a cell, in pixels."""
        return 34 if self.labeled else max(2.0, 900 / len(self.classes))

    @property
    def margin(self) -> int:
        """For the names, in pixels."""
        return 30 + round(8 * min(20, max(map(len, self.classes)))) if self.labeled else 8


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], order: Sequence[int]) -> Confusion:
    """A matrix of counts with its classes in this order."""
    cells = [
        (i, j, counts[a][b], counts[a][b] / sum(counts[a]))
        for i, a in enumerate(order)
        for j, b in enumerate(order)
        if counts[a][b]
    ]
    return Confusion(tuple(classes[k] for k in order), tuple(cells))


def per_class(report: Report, order: Sequence[int]) -> Table:
    """Precision, recall and F1 of every class; with many classes, the worst first."""
    many = len(order) > Table.open_rows
    rows = sorted(order, key=lambda k: report.f1[k]) if many else order

    def bar(value: float, of: int) -> Cell:
        return Bar(f"{100 * value:.0f} %", value) if of else NOTHING

    predicted = [sum(row[k] for row in report.confusion) for k in range(len(report.classes))]
    return Table(
        ("class", "videos", "precision", "recall", "F1"),
        [
            (
                report.classes[k],
                str(report.support[k]),
                bar(report.precision[k], predicted[k]),
                bar(report.recall[k], report.support[k]),
                bar(report.f1[k], report.support[k] + predicted[k]),
            )
            for k in rows
        ],
    )


def accuracy(value: float, interval: tuple[float, float] | None = None) -> Bar:
    """An accuracy in [0, 1] as a cell, with its interval."""
    text = f"{100 * value:.1f} %"
    if interval is not None:
        text += f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})"
    return Bar(text, value, interval)


def facts(origin: dict[str, Any], seed: int | None = None) -> list[tuple[str, str]]:
    """Command, seed, versions, machine and date of what origin.json says, as pairs of a name and a text."""
    machine, versions = origin.get("machine", {}), origin.get("versions", {})
    gpus = machine.get("gpus") or []
    hardware = [f"{machine['cores']} cores of {machine['cpu']}", ", ".join(gpus) or "no GPU"] if machine else []
    found = [
        ("seed", "" if seed is None else str(seed)),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("machine", ", ".join(hardware)),
        ("date", str(origin.get("date", "")).replace("T", " ").replace("+00:00", " UTC")),
    ]
    return [(name, text) for name, text in found if text]


def data_uri(kind: str, content: bytes) -> str:
    """An image in the text of a page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_SPACE = "\N{NO-BREAK SPACE}"


def render(template: str, **content: Any) -> str:
    """A page as one HTML file that needs no other file and no network; arguments are those of `write_page`."""
    environment = Environment(
        loader=PackageLoader("stillmotion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f}{_SPACE}%"
    environment.filters["unbroken"] = lambda text: text.replace(" %", f"{_SPACE}%")
    return environment.get_template(f"{template}.html").render(version=__version__, **content)


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page.

    Args:
        template: of the folder templates/, without its ending.
        content: what the template names.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(render(template, **content), encoding="utf-8")
