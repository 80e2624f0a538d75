"""`stillmotion list`: methods, recipes, weights."""

from collections.abc import Callable, Sequence

from stillmotion.errors import StillmotionError, did_you_mean


def run(words: Sequence[str]) -> None:
    """Print everything that has a name, or one kind of it."""
    parts: dict[str, Callable[[], None]] = {"methods": _methods, "recipes": _recipes, "weights": _weights}
    if words and words[0] in ("-h", "--help"):
        print(f"usage: stillmotion list [{'|'.join(parts)}]")
        return
    wrong = next((word for i, word in enumerate(words) if i > 0 or word not in parts), None)
    if wrong is not None:
        near = "" if wrong in parts else did_you_mean(wrong, parts)
        hint = near if near.startswith("; did you mean") else ""  # the choices come anyway
        raise StillmotionError(
            f"stillmotion list takes no {wrong!r}{hint}; it takes one word or none: {', '.join(parts)}"
        )
    for name, part in parts.items():
        if not words or name == words[0]:
            part()


def _methods() -> None:
    from stillmotion.methods import METHODS

    _table("methods", [(name, (method.__doc__ or "").splitlines()[0]) for name, method in METHODS.items()])


def _recipes() -> None:
    from stillmotion.cli.train import summary
    from stillmotion.recipes import OWN_CLIPS, PUBLISHED
    from stillmotion.recipes.published import in_words

    for title, makers in (("recipes for your own clips", OWN_CLIPS), ("recipes of published numbers", PUBLISHED)):
        rows = []
        for maker in makers:
            numbers = [("", line) for line in in_words(maker().published)]
            rows += [(maker.__name__, summary(maker.__name__)), *numbers]
        _table(title, rows)


def _weights() -> None:
    from stillmotion.backbones import load

    lines = (line.partition("  ") for line in (load.__doc__ or "").split("\n\n")[1].splitlines())
    _table("backbones (--backbone)", [(name, text.strip()) for name, _, text in lines])


def _table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table

    from stillmotion.cli.table import put

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    put(table)
    print()
