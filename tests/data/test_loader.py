"""Worker processes that are lost are one line, and not waited for."""

import os
import signal
import time
from typing import Any

import pytest

from stillmotion.data import loader
from stillmotion.errors import DataError, StillmotionError


class Items:
    """Eight items, one of which does something to the process that reads it."""

    def __init__(self, what: Any):
        self.what = what

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        if i == 5:
            self.what()
        return i


def test_items_and_batches_in_order() -> None:
    for workers in (0, 2):
        assert list(loader.batches(Items(lambda: None), workers)) == list(range(8))
        assert list(loader.batches(Items(lambda: None), workers, keys=[3, 1, 3])) == [3, 1, 3]
        found = loader.batches(Items(lambda: None), workers, batch_sampler=[[0, 1], [7]], collate_fn=list)
        assert list(found) == [[0, 1], [7]]


def test_a_killed_worker_is_one_line() -> None:
    with pytest.raises(DataError, match="a process that reads videos is gone") as error:
        list(loader.batches(Items(lambda: os.kill(os.getpid(), signal.SIGKILL)), 2))
    assert "\n" not in str(error.value)


def test_a_stopped_worker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "PATIENCE", 2.0)
    started = time.monotonic()
    with pytest.raises(DataError, match="no video came from the processes that read them"):
        list(loader.batches(Items(lambda: os.kill(os.getpid(), signal.SIGSTOP)), 2))
    assert time.monotonic() - started < 30


def test_errors_in_a_worker_keep_their_kind_and_their_words() -> None:
    def refuse() -> None:
        raise DataError("clip 5 is odd: mend it")

    def bug() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(DataError) as error:
        list(loader.batches(Items(refuse), 1))
    assert str(error.value) == "clip 5 is odd: mend it"
    with pytest.raises(RuntimeError, match="shapes differ") as wrong:
        list(loader.batches(Items(bug), 1))
    assert not isinstance(wrong.value, StillmotionError)


def test_workers_by_device() -> None:
    assert [loader.data_workers(n, d) for n, d in ((None, "cpu"), (None, "cuda"), (3, "cpu"), (0, "cuda"))] == [
        0,
        8,
        3,
        0,
    ]
