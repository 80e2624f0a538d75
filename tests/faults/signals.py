"""Send signals at random times of training and encoding; after a rerun all is as if nothing had happened.

python -m tests.faults.signals --count 56 --seed 0
"""

import os
import signal
import sys
import time

from tests.faults import Row, Run, Trial, World, command, main

KINDS = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGQUIT": (signal.SIGQUIT,),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
}


def usual() -> None:
    """What a command at a terminal does: shells let those in the background ignore some signals, as `nohup` does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def send(signals: tuple[signal.Signals, ...]) -> Trial:
    """Trials of one kind: training from the cache, from pixels, and encoding in turn."""

    def trial(world: World, row: Row) -> None:
        runs = [("evl", "train"), ("vificlip", "train"), ("evl", "encode")][: row.count]
        stopped = 0
        for k, (recipe, do) in enumerate(runs):
            run = Run(world, recipe, do)
            for i in range(k, row.count, len(runs)):
                run.clear()
                child = command(run.words, usual)
                time.sleep(row.draw.uniform(0, run.seconds))
                for number in signals:
                    os.kill(child.pid, number)
                    time.sleep(row.draw.uniform(0, 0.02))
                child.wait()
                stopped += child.code != 0
                # Python says where a second Ctrl-C met it; anything else is one line.
                loud = len(signals) == 1 and "Traceback" in child.said
                row.check(child.said[-1500:] if loud else run.settle(), f"{i} ({do} {recipe})")
            run.clear()
        row.note = f"{stopped} ended early"

    return trial


COUNTS = (12, 11, 11, 11, 11)
TRIALS = {name: (send(kind), count) for (name, kind), count in zip(KINDS.items(), COUNTS, strict=True)}

if __name__ == "__main__":
    sys.exit(main(TRIALS))
