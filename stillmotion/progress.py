"""Progress bars and messages: drawn by rich on a terminal, plain lines or silence elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stillmotion.errors import printable

console = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Draw a bar on standard error while the block runs, by the first process and on a terminal only.

    `total` is None where nobody knows it. Yields what moves the bar on, `advance(steps=1, note=...)`; a note replaces
    the text behind it.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal or not is_main_process() or total == 0,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # rich would send what is meant for a file or a pipe to the terminal
    )
    task = progress.add_task(description, total=total, note="")

    def advance(steps: int = 1, **note: Any) -> None:
        progress.update(task, advance=steps, **note)

    with progress:
        yield advance


def say(message: str) -> None:
    """Print one line on standard error, from the first process only."""
    if is_main_process():
        console.print(printable(message), markup=False)


def duration(seconds: float) -> str:
    """Seconds as people say them: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size_of(count: float) -> str:
    """Bytes as people say them: `812 B`, `14.2 MB`, `1.3 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def is_main_process() -> bool:
    """Tell whether this is the first process of a distributed launch, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0
