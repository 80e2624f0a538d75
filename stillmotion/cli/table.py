"""A table on standard output."""

from collections.abc import Iterable, Sequence


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
