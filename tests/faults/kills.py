"""Kill training, encoding and the real command at random times; after a rerun all is as if nothing had happened.

python -m tests.faults.kills --count 78 --seed 0
"""

import os
import signal
import subprocess
import sys
import time

from tests.faults import Row, Run, Trial, World, command, main


def kill(recipe: str = "evl", do: str = "train") -> Trial:
    """Trials of a command, killed up to three times, in a process that was forked."""

    def trial(world: World, row: Row) -> None:
        run, kills = Run(world, recipe, do), 0
        for i in row:
            run.clear()
            for _ in range(row.draw.choice((1, 1, 2, 3))):
                child = command(run.words)
                time.sleep(row.draw.uniform(0, run.seconds))
                os.kill(child.pid, signal.SIGKILL)
                kills += child.wait().code == -signal.SIGKILL
                run.age()
            row.check(run.settle(), i)
        row.note = f"{kills} kills"

    return trial


def kill_command(world: World, row: Row) -> None:
    """The real command, in a process of its own."""
    run, kills = Run(world), 0
    words = [sys.executable, "-W", "ignore", "-m", "stillmotion", *run.words]
    for i in row:
        run.clear()
        process = subprocess.Popen(words, stdout=-3, stderr=-3)
        while not (run.cache.exists() or run.out.exists()) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(row.draw.uniform(0, run.seconds))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        run.age()
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        fine = done.returncode == 0 or "holds this run, finished" in done.stderr
        row.check(run.settle() if fine else done.stderr[-1500:], i)
    row.note = f"{kills} kills"


TRIALS: dict[str, tuple[Trial, int]] = {
    "SIGKILL of `train evl`": (kill(), 35),
    "SIGKILL of `train vificlip`": (kill("vificlip"), 15),
    "SIGKILL of `encode evl`": (kill(do="encode"), 20),
    "SIGKILL of the real command": (kill_command, 8),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
