"""Worker processes that read a data set: how many, what they hand over, and what happens when one is lost."""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from stillmotion.errors import DataError, StillmotionError

PATIENCE = 1800.0
"""Seconds without one batch after which workers count as stopped: far more than any video takes."""

LOST = "DataLoader worker"
"""How PyTorch's error begins when a worker is gone; its signal handler raises it anywhere in the main thread."""


def data_workers(workers: int | None, device: str) -> int:
    """Processes that decode for a kind of device: as asked, or none for a CPU and 8 for a GPU."""
    return workers if workers is not None else 0 if device == "cpu" else 8


def shared_workers(workers: int | None) -> int:
    """Processes that read for several models at once: as asked, or none, for this process holds in memory what all of
    them read.
    """
    return workers or 0


def batches(
    dataset: Any, workers: int, *, keys: Iterable[Any] | None = None, ahead: int = 2, pin: bool = False, **how: Any
) -> Iterator[Any]:
    """Yield what a data set holds, in order, read by worker processes (0: by this one).
    Raises `DataError`: a worker was killed, or none gave anything for half an hour.

    Args:
        keys: what the data set is indexed by, item after item; None: 0, 1, 2, ...
        ahead: items that each worker reads before they are asked for.
        pin: copy them to memory that a GPU reads from directly.
        how: `batch_sampler` and `collate_fn`, for batches in place of items.
    """
    if "batch_sampler" not in how:
        how |= {"batch_size": None, "sampler": keys}
    if workers:
        how |= {"timeout": PATIENCE, "prefetch_factor": ahead}
    before = _children()
    try:
        yield from DataLoader(dataset, num_workers=workers, pin_memory=pin, **how)
    except StillmotionError as error:  # a worker's comes with its traceback, and its own words at the end
        raise type(error)(str(error).strip().rpartition(f"{type(error).__name__}: ")[2]) from error
    except RuntimeError as error:
        if not str(error).startswith((LOST, "DataLoader timed out")):
            raise
        for pid in _children() - before:
            if hasattr(signal, "SIGCONT"):  # a stopped one would not hear that it is to end
                os.kill(pid, signal.SIGCONT)
        raise lost(error) from error


def lost(error: RuntimeError) -> DataError:
    """Return what to say of PyTorch's error about a worker."""
    if str(error).startswith(LOST):
        return DataError(
            f"a process that reads videos is gone, perhaps for lack of memory ({error}); use fewer --workers"
        )
    return DataError(
        f"no video came from the processes that read them for {PATIENCE / 60:g} minutes; one is stopped, or a video "
        "or its disk hangs: run again, with --workers 0 to see where"
    )


def _children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}
