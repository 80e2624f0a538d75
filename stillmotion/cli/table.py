"""A table on standard output."""

from collections.abc import Iterable, Sequence


def show(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> None:
    """Print a table; the first `words` columns are words, the others numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < words else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
