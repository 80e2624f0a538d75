"""A little of every kind of damage; and that it would be seen if something fell."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import Child, Row

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
import sys
from importlib import import_module
from tests.faults import main
few = {few}
trials = {{}}
for name, rows in few.items():
    for what, trial in import_module(f"tests.faults.{{name}}").TRIALS.items():
        trials |= {{what: (trial[0], n) for begin, n in rows.items() if what.startswith(begin)}}
sys.exit(main(trials))
"""


@pytest.mark.slow
def test_a_little_of_everything() -> None:
    words = [sys.executable, "-W", "ignore", "-c", RUN.format(few=FEW)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == sum(map(len, FEW.values())), done.stdout
    assert all(fell == "0" and int(held.split()[0]) >= 1 for _, held, fell in rows), done.stdout


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
