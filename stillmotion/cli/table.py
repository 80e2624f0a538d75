"""What commands print when they are done: a table, and where the model is."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stillmotion.run_report import write_run_report


def show(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, wide: bool = False) -> None:
    """Print a table; the first `words` columns are words, the others numbers.

    A `wide` one takes the width of the terminal, and one line a row where there is none.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < words else "right")
    for row in rows:
        table.add_row(*row)
    console = Console() if wide else Console(width=110)
    if wide and not console.is_terminal:
        console.width = 240
    console.print(table)


def show_model(model: Path, report: bool = False) -> None:
    """Print where a run's model is and what to type next; with `report`, write the run's page and print it first."""
    if report and (page := write_run_report(model.parent)):
        print(page)
    print(f"{model}\nstillmotion predict {model} VIDEO")
