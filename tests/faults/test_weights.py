"""The damage that `weights.py` does, a little of it; and that it would be seen if something fell."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

OUTCOMES = """
import os, signal
from stillmotion.errors import WeightsError
from tests.faults import weights
weights.SECONDS = 1

class TwoLines(WeightsError):
    def __str__(self):
        return "two\\nlines"

def fail(error):
    raise error

def wait():
    while True:
        pass

calls = [int, lambda: fail(WeightsError("one line")), lambda: fail(TwoLines())]
calls += [lambda: fail(KeyError("x"))]
calls += [lambda: bytearray(1 << 31), lambda: os.kill(os.getpid(), signal.SIGSEGV), wait]
print([weights.attempt(call) for call in calls])
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_a_few_mutants_of_every_kind() -> None:
    done = run("-W", "ignore", "-m", "tests.faults.weights", "--count", "48", "--seed", "8")
    assert done.returncode == 0, done.stderr
    kind, tried, loaded, refused, fell = done.stdout.splitlines()[-1].split()
    assert (kind, tried, fell) == ("all", "48", "0")
    assert int(loaded) + int(refused) == 48 and int(refused) > 20


def test_what_falls_is_seen() -> None:
    """Loaded, refused; and two lines, a traceback, too much memory, a crash and a hang are falls."""
    assert run("-c", OUTCOMES).stdout.strip() == "[0, 1, 2, 2, 2, -11, -24]"
