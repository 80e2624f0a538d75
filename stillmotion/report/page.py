"""The page: a table, a confusion matrix, learning curves, and where the model looks."""

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from stillmotion.files import atomic_write
from stillmotion.version import __version__


@dataclass(frozen=True)
class Row:
    """One line of the comparison."""

    name: str
    top1: float
    pairs: float
    """Accuracy between a class and its time-reversed partner; chance is 0.5."""
    parameters: int
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        share = (f"{100 * self.top1:.1f} %", f"{100 * self.pairs:.1f} %")
        return (self.name, *share, f"{self.parameters:,}", f"{self.seconds:.0f} s")


HEADER = ("model", "top-1", "within reversed pairs", "trained parameters", "training")


@dataclass(frozen=True)
class Example:
    """One clip of the page: what it is, what the model says, and a figure of its attention."""

    title: str
    truth: str
    best: list[tuple[str, float]]
    figure: str


@dataclass(frozen=True)
class Page:
    """Everything on the page; figures are data URIs."""

    title: str
    summary: str
    rows: list[Row]
    confusion: str
    confusion_of: str
    curves: str
    examples: list[Example] = field(default_factory=list)
    command: str = ""


def write_page(path: Path, page: Page) -> None:
    """Write a page as one HTML file that needs no other file and no network."""
    environment = Environment(
        loader=PackageLoader("stillmotion", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("page.html").render(page=page, header=HEADER, version=__version__)
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
