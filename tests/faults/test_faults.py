"""A little of every kind of damage; and that it would be seen if something fell."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import Child, Row, fork, until

ROOT = Path(__file__).parents[2]
# Of every harness some rows, by their beginning, and how often: seconds, where a full table takes an hour.
FEW = {
    "kills": {"SIGKILL of `encode": 1},
    "signals": {"SIGTERM": 1},
    "shared": {"two encoders": 2, "two trainers": 1},
    "disk": {"disk full or read-only: weights": 1, "disk full or read-only: feature": 1},
    "videos": {"mutants": 15, "lists": 20},
    "cards": {"hostile cards of evl": 12},
    "files": {"shards": 3, "predictions": 6},
    "threads": {"the same": 16, "fork": 1},
}
RUN = """
import faulthandler, sys
from importlib import import_module
from tests.faults import main
faulthandler.dump_traceback_later(450, exit=True)
few = {few}
trials = {{}}
for name, rows in few.items():
    for what, trial in import_module(f"tests.faults.{{name}}").TRIALS.items():
        trials |= {{what: (trial[0], n) for begin, n in rows.items() if what.startswith(begin)}}
sys.exit(main(trials))
"""


@pytest.mark.slow
def test_a_little_of_everything(tmp_path: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", RUN.format(few=FEW)]
    out, log = tmp_path / "out", tmp_path / "log"  # files, because a pipe is read for as long as any child has it
    with out.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(words, cwd=ROOT, stdout=stdout, stderr=stderr, start_new_session=True)
        try:
            code = process.wait(500)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-5000:]
    rows = [line.strip("| ").split(" | ") for line in out.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == sum(map(len, FEW.values())), rows
    assert all(fell == "0" and int(held.split()[0]) >= 1 for _, held, fell in rows), rows


def test_a_fall_is_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("trials", random.Random(0), 3)
    for i in row:
        row.check("another result" if i == 1 else "", i)
    assert str(row) == "| trials (3) | 2 | 1 |"
    assert capsys.readouterr().err == "fell: trials, 1: another result\n"


@pytest.mark.parametrize(
    ("code", "said", "fine"),
    [
        (0, "top-1 50 %", True),
        (2, "resuming\nerror: a.mp4 is empty\n", True),
        (1, "error: a\n", False),
        (2, "", False),
        (2, "error: a\nerror: b\n", False),
        (0, "Traceback (most recent call last):", False),
        (-11, "", False),
        (2, "error: " + "x" * 10_000, False),
    ],
)
def test_how_a_command_may_end(tmp_path: Path, code: int, said: str, fine: bool) -> None:
    (tmp_path / "log").write_text(said)
    assert bool(Child(0, tmp_path / "log", 0.0, code=code).error()) is not fine


def test_what_never_comes_is_waited_for_so_long(tmp_path: Path) -> None:
    child = fork(lambda: print("begun") or time.sleep(60), tmp_path / "log")  # type: ignore[func-returns-value]
    with pytest.raises(TimeoutError, match=r"waited 0\.5 s for a command that printed"):
        until(lambda: False, child, 0.5)
    assert child.wait().code == -signal.SIGKILL
