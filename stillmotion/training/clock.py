"""What is said at the end of every epoch, of one run or of many that train together."""

import time
from collections.abc import Sequence
from typing import Any

from stillmotion.progress import duration, say


class Clock:
    """Says what every epoch gave, and how long the rest will take."""

    def __init__(self, trainers: Sequence[Any], turns: Sequence[tuple[int, int]]):
        self.trainers, self.total, self.done = trainers, len(turns), 0
        self.epochs = max(trainer.config.epochs for trainer in trainers)
        self.last_turn = {step // trainers[i].plan.steps_per_epoch: (i, step) for i, step in turns}
        self.started = self.before = time.monotonic()

    def tick(self, i: int, step: int) -> None:
        """Count a step, and say a line if it ends an epoch of all."""
        self.done += 1
        epoch = step // self.trainers[i].plan.steps_per_epoch
        if self.last_turn[epoch] != (i, step):
            return
        now = time.monotonic()
        left = (now - self.started) / self.done * (self.total - self.done)
        told = self.trainers[i].told if len(self.trainers) == 1 else f"{len(self.trainers)} models"
        say(f"epoch {epoch + 1} of {self.epochs}: {told}, {duration(now - self.before)}, {duration(left)} left")
        self.before = now
