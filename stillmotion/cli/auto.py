"""`stillmotion train auto`: the tool decides which head, and shows why."""

from collections.abc import Sequence

from stillmotion.cli.parse import parse
from stillmotion.cli.table import show, show_model
from stillmotion.data.source import Data
from stillmotion.recipes.base import HERE, Place


def run(words: Sequence[str]) -> None:
    """Choose a method, train it, and say how it was chosen."""
    from stillmotion.auto import Auto, auto
    from stillmotion.candidates import table

    def options(*, data: Data, auto: Auto = Auto(), place: Place = HERE) -> tuple[Auto, Data, Place]:  # noqa: B008
        """Choose a head for your clips by folds of the training clips, train it, and test it on held-out ones."""
        return auto, data, place

    given: tuple[Auto, Data, Place] = parse(options, words, "stillmotion train auto")
    choice = auto(*given)
    header, *rows = table(choice.candidates, choice.winner)
    show(header, rows)
    print(f"* {choice.reason}")
    print(f"{choice.winner.name}, on held-out clips: {choice.result.report}")
    print(f"order: {choice.order}")
    show_model(choice.result.folder.model, given[2].report)
