"""Progress bars and messages: drawn by rich on a terminal, plain lines or silence elsewhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stillmotion.errors import printable

console = Console(stderr=True, soft_wrap=True, highlight=False)


class Bar:
    """One running progress bar."""

    def __init__(self, progress: Progress, description: str, total: int):
        self._progress = progress
        self._task = progress.add_task(description, total=total, note="")

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Move the bar on; `note` replaces the text behind it."""
        self._progress.advance(self._task, steps)
        if note is not None:
            self._progress.update(self._task, note=note)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Bar]:
    """Draw a bar on standard error while the block runs; draw nothing when that is not a terminal.

    Under a distributed launch only the first process draws.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal or not is_main_process(),
        transient=True,
    )
    with progress:
        yield Bar(progress, description, total)


def say(message: str) -> None:
    """Print one line on standard error, from the first process only."""
    if is_main_process():
        console.print(printable(message), markup=False)


def is_main_process() -> bool:
    """Tell whether this is the first process of a distributed launch, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0
