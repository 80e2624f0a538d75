"""Worker processes that die are replaced, and those that are stopped are not waited for."""

import os
import signal
import time
from pathlib import Path
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


class Replaced(Items):
    """The same, with something to stand for an item that ends the process that reads it."""

    def lost(self, i: int, why: str) -> str:
        return f"{i} {why}"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_its_item_named(workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    *first, lost, sixth, seventh = loader.batches(Replaced(die), workers)
    assert [*first, sixth, seventh] == [0, 1, 2, 3, 4, 6, 7], "none twice, none left out, in order"
    assert lost.startswith("5 it ends the process that reads it (DataLoader worker")
    assert "another goes on" in capsys.readouterr().err


def test_of_a_batch_the_others_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(loader.batches(Replaced(die), 2, batch_sampler=[[0, 1], [4, 5, 6], [7]], collate_fn=list))
    assert [found[0], found[1][0], found[1][2], found[2]] == [[0, 1], 4, 6, [7]]
    assert found[1][1].startswith("5 it ends the process")


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def once() -> None:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            die()

    assert list(loader.batches(Items(once), 2)) == list(range(8))


def test_workers_that_die_whatever_they_read_end_it(tmp_path: Path) -> None:
    """As where memory is short: each item is read alone, and then the next worker dies."""

    class Short(Replaced):
        def __getitem__(self, i: int) -> int:
            if not (tmp_path / str(i)).exists():
                (tmp_path / str(i)).touch()
                die()
            return i

    with pytest.raises(DataError, match=r"again and again, perhaps for lack of memory.*fewer --workers") as error:
        list(loader.batches(Short(None), 1, ahead=1))
    assert "\n" not in str(error.value)


def test_an_item_that_nothing_can_stand_for_is_one_line() -> None:
    with pytest.raises(DataError, match="item 5 ends the process that reads it") as error:
        list(loader.batches(Items(die), 2))
    assert "\n" not in str(error.value)


def test_a_death_is_not_met_in_the_midst_of_a_step() -> None:
    """PyTorch's signal handler would raise here, where nobody reads."""
    found = loader.batches(Replaced(die), 1, ahead=1)
    while next(found) != 4:  # the worker is at the fifth by now
        pass
    time.sleep(0.5)
    assert str(next(found)).startswith("5 it ends")


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
