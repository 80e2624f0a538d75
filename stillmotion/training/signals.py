"""Ctrl-C and termination, caught so that a step is finished and saved."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or termination signal; a second one kills."""
    caught: list[int] = []
    previous: dict[int, Any] = {}

    def handler(number: int, _: Any) -> None:
        caught.append(number)
        for again, old in previous.items():
            signal.signal(again, old)

    try:
        for sign in (signal.SIGINT, signal.SIGTERM):
            previous[sign] = signal.signal(sign, handler)
    except ValueError:  # not in the main thread: signals are somebody else's
        previous = {}
    try:
        yield caught
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
