"""What commands print when they are done: a table, and where the model is."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stillmotion.run_report import write_run_report


def show(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, wide: bool = False) -> None:
    """Print a table; the first `words` columns are words, the others numbers.

    A `wide` one takes the width of the terminal, and one line a row where there is none.
    """
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < words else "right")
    for row in rows:
        table.add_row(*row)
    put(table, None if wide else 110)


def put(table: Table, width: int | None = None) -> None:
    """Print a table in this width; None: that of the terminal, or of COLUMNS, and where there is neither as wide as it
    is, so that for other programs a row is a line.
    """
    console = Console(width=width)
    if width is None and not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 240
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_model(model: Path, report: bool = False) -> None:
    """Print where a run's model is and what to type next; with `report`, write the run's page and print it first."""
    if report and (page := write_run_report(model.parent)):
        print(page)
    print(f"{model}\nstillmotion predict {model} VIDEO")
