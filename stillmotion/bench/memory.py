"""The most memory that a piece of work takes."""

import threading
from types import TracebackType

import psutil
import torch

EVERY = 0.05
"""Seconds between two looks at the process."""


class Peak:
    """While it is entered, the process is looked at; `megabytes` is the most it took: on a GPU the memory that PyTorch
    gave out there, else all that the process holds.
    """

    megabytes = 0.0

    def __enter__(self) -> "Peak":
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._done, self._process = threading.Event(), psutil.Process()
        self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()
        if torch.cuda.is_available() and (used := torch.cuda.max_memory_allocated()):
            self.megabytes = used / 1e6

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self._look()

    def _look(self) -> None:
        self.megabytes = max(self.megabytes, self._process.memory_info().rss / 1e6)
