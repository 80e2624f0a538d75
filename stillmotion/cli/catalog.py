"""`stillmotion list`: methods, recipes, weights."""

from collections.abc import Sequence

from stillmotion.errors import StillmotionError


def run(words: Sequence[str]) -> None:
    """Print everything that has a name."""
    from rich.console import Console
    from rich.table import Table

    from stillmotion.cli.train import summary
    from stillmotion.methods import METHODS
    from stillmotion.models import weights
    from stillmotion.recipes import RECIPES

    if words and words[0] not in ("-h", "--help"):
        raise StillmotionError(f"stillmotion list takes no {words[0]!r}; it takes nothing")
    console = Console()
    for title, rows in (
        ("methods", [(name, (method.__doc__ or "").splitlines()[0]) for name, method in METHODS.items()]),
        ("recipes", [(name, summary(name)) for name in RECIPES]),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print("CLIP weights (--clip)", style="italic")
    console.print("\n".join((weights.__doc__ or "").splitlines()[2:]), markup=False, highlight=False)
