"""Several processes on one cache, some of them stopped or killed; two trainers in one folder.

python -m tests.faults.shared --count 23 --seed 0
"""

import json
import os
import signal
import sys
import time

from tests.faults import Row, Run, Trial, World, command, main, until


def encode_together(world: World, row: Row, processes: int = 2) -> None:
    """Every second round one is stopped for a while, and of those every second one killed then."""
    run, again, killed = Run(world, do="encode"), 0, 0
    views = sum(len(json.loads(p.read_text())["items"]) for p in run.cache.glob("*/shard-*.json"))
    for i in row:
        run.clear()
        children = []
        for _ in range(processes):
            children.append(command(run.words))
            time.sleep(row.draw.uniform(0, run.seconds / 8))
        if i % 2:
            time.sleep(row.draw.uniform(0, run.seconds / 4))
            os.kill(children[0].pid, signal.SIGSTOP)
            time.sleep(run.seconds / 2)
            os.kill(children[0].pid, signal.SIGKILL if i % 4 == 1 else signal.SIGCONT)
        problems = [child.error() for child in children if child.wait().code != -signal.SIGKILL]
        killed += len(children) - len(problems)
        same = run.gives() == run.expected
        row.check("; ".join(filter(None, problems)) or ("" if same else "other features") or run.settle(), i)
        again += sum(len(json.loads(p.read_text())["items"]) for p in run.cache.glob("*/shard-*.json")) - views
    row.note = f"{killed} killed, {again} views encoded twice"


def encode_four(world: World, row: Row) -> None:
    """Four at once."""
    encode_together(world, row, 4)


def train_together(world: World, row: Row) -> None:
    """The second of two equal trainers is refused in one line, and the first ends as if it had been alone."""
    run = Run(world)
    for i in row:
        run.clear()
        first = command(run.words)
        until((run.out / "config.json").exists, first)
        time.sleep(row.draw.uniform(0, run.seconds / 4))
        os.kill(first.pid, signal.SIGSTOP)
        second = command(run.words).wait()
        os.kill(first.pid, signal.SIGCONT)
        first.wait()
        refused = second.code == 2 and not second.error() and "another process is training in" in second.said
        same = first.code == 0 and run.gives() == run.expected
        row.check("" if refused and same else f"first {first.code}, second {second.code}: {second.said[-500:]}", i)


TRIALS: dict[str, tuple[Trial, int]] = {
    "two encoders on one cache": (encode_together, 12),
    "four encoders on one cache": (encode_four, 1),
    "two trainers in one folder": (train_together, 10),
}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
