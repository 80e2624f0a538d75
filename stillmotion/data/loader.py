"""Worker processes that read a data set: how many, what they hand over, and what happens when one is lost."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from torch.utils.data import DataLoader

from stillmotion.errors import DataError, StillmotionError
from stillmotion.progress import say

Collate: TypeAlias = Callable[[list[Any]], Any]
PATIENCE = 1800.0
"""Seconds without one batch after which workers count as stopped: far more than any video takes."""
TICK = 1.0
"""Seconds between looks at whether all workers live."""
LOSSES = 3
"""Workers that may be lost though nothing that they read ends a process: then it is the machine that lacks memory."""


class _Lost(Exception):
    """A worker process has ended before its time; the reason, as PyTorch says it."""


def data_workers(workers: int | None, device: str) -> int:
    """Processes that decode for a kind of device: as asked, or none for a CPU and 8 for a GPU."""
    return workers if workers is not None else 0 if device == "cpu" else 8


def shared_workers(workers: int | None) -> int:
    """Processes that read for several models at once: as asked, or none, for this process holds in memory what all of
    them read.
    """
    return workers or 0


def batches(
    dataset: Any,
    workers: int,
    *,
    keys: Iterable[Any] | None = None,
    batch_sampler: Iterable[Sequence[Any]] | None = None,
    collate_fn: Collate | None = None,
    ahead: int = 2,
    pin: bool = False,
) -> Iterator[Any]:
    """Yield what a data set holds, in order, read by worker processes (0: by this one).
    Raises `DataError`: workers are killed whatever they read, or none gave anything for half an hour.

    A worker that dies is replaced. What was asked for is read again, item by item; in place of one that ends its
    process comes `dataset.lost(key, why)`, where the data set has that.

    Args:
        keys: what the data set is indexed by, item after item; None: 0, 1, 2, ...
        batch_sampler: lists of keys, for batches in place of items, which `collate_fn` makes of a list of items.
        ahead: items that each worker reads before they are asked for.
        pin: copy them to memory that a GPU reads from directly.
    """
    assert (batch_sampler is None) == (collate_fn is None)
    asked = iter(batch_sampler if batch_sampler is not None else range(len(dataset)) if keys is None else keys)
    reader = _Reader(dataset)
    losses, waiting = 0, deque[Any]()
    try:
        while True:
            try:
                for item in reader.read(_noted(asked, waiting), collate_fn, workers, ahead, pin):
                    waiting.popleft()
                    yield item
                return
            except _Lost as error:
                why = str(error)
            say(f"a process that reads videos is gone ({why}); another goes on, and what it read is read once more")
            before = len(reader.blamed)
            while waiting:
                yield reader.alone(waiting.popleft(), collate_fn)
            losses = losses + 1 if len(reader.blamed) == before else 0
            if losses == LOSSES:
                raise DataError(
                    f"processes that read videos are killed again and again, perhaps for lack of memory ({why}); use "
                    "fewer --workers"
                )
    except StillmotionError as error:  # a worker's comes with its traceback, and its own words at the end
        raise type(error)(str(error).strip().rpartition(f"{type(error).__name__}: ")[2]) from error


def _noted(asked: Iterator[Any], waiting: deque[Any]) -> Iterator[Any]:
    """What is asked for, which waits from then on."""
    for key in asked:
        waiting.append(key)
        yield key


class _Reader:
    """Reads items of a data set, or where `collate` is given batches, in processes that may end; `blamed` are the keys
    that end one.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.blamed: list[Any] = []

    def read(
        self, keys: Iterable[Any], collate: Collate | None, workers: int, ahead: int, pin: bool = False
    ) -> Iterator[Any]:
        """Yield items in order. Raises `_Lost`: a worker has ended; `DataError`: none gave anything for too long."""
        how: dict[str, Any] = {"batch_size": None, "sampler": keys}
        if collate is not None:
            how = {"batch_sampler": keys, "collate_fn": collate}
        if workers:
            how |= {"timeout": TICK, "prefetch_factor": ahead}
        yield from _watched(DataLoader(self.dataset, num_workers=workers, pin_memory=pin, **how))

    def alone(self, key: Any, collate: Collate | None) -> Any:
        """An item in a process of its own, a batch by its keys where it ends that. Raises `DataError`: so does an item
        of a data set that knows no stand-in.
        """
        try:
            (item,) = self.read([key], collate, workers=1, ahead=1)
        except _Lost as error:
            why = str(error)
        else:
            return item
        if collate is not None:
            return collate([self.alone(one, None) for one in key])
        if not hasattr(self.dataset, "lost"):
            raise DataError(f"item {key} ends the process that reads it ({why}); mend it, or use fewer --workers")
        self.blamed.append(key)
        return self.dataset.lost(key, f"it ends the process that reads it ({why})")


def _watched(loader: "DataLoader[Any]") -> Iterator[Any]:
    """Iterate, with an eye on workers. Raises `_Lost` and `DataError`."""
    before, child = _children(), getattr(signal, "SIGCHLD", None)
    handler = signal.getsignal(child) if child is not None else None
    items, silent = iter(loader), 0.0
    if child is not None and signal.getsignal(child) is not handler:
        # PyTorch's raises anywhere in the main thread, in the middle of a step; here workers are looked at instead.
        signal.signal(child, handler)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except RuntimeError as error:
            if str(error).startswith("DataLoader timed out"):
                silent += TICK
                if silent < PATIENCE:
                    continue
                _wake(before)
                raise _stopped() from error
            if str(error).startswith("DataLoader worker"):
                _wake(before)
                raise _Lost(_reason(str(error))) from error
            raise
        silent = 0.0
        yield item


def _stopped() -> DataError:
    return DataError(
        f"no video came from the processes that read them for {PATIENCE / 60:g} minutes; one is stopped, or a video "
        "or its disk hangs: run again, with --workers 0 to see where"
    )


def _reason(said: str) -> str:
    """What PyTorch says of a lost worker, in short."""
    return said.partition(". ")[0].removesuffix(".")


def _wake(before: set[int]) -> None:
    """Let workers that were stopped go on: they would not hear that they are to end."""
    for pid in _children() - before:
        if hasattr(signal, "SIGCONT"):
            os.kill(pid, signal.SIGCONT)


def _children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}
