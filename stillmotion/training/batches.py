"""The order of training: which clips make up each optimizer step, for any number of processes, from any step on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stillmotion.data.seeds import item_seed

Key = tuple[int, int]
"""(epoch, index of the clip)."""


@dataclass(frozen=True)
class BatchPlan:
    """A permutation per epoch, cut into batches; the last one of an epoch may be smaller, none is dropped.

    It is a function of its fields alone, so a resumed run continues with the very clips that were next.
    """

    clips: int
    batch_size: int
    micro_batch: int | None
    epochs: int
    seed: int
    rank: int = 0
    world: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass."""
        return math.ceil(self.clips / self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        return self.epochs * self.steps_per_epoch

    def batch(self, step: int) -> list[Key]:
        """All clips of a step, over all processes."""
        epoch, i = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, self.clips)
        return [(epoch, int(k)) for k in order[i * self.batch_size : (i + 1) * self.batch_size]]

    def micro_batches(self, step: int) -> list[list[Key]]:
        """This process's clips of a step, cut into forward passes; every process has equally many passes.

        A process without clips of its own in a small last batch gets the first one again; `weight` makes it count 0.
        """
        batch = self.batch(step)
        mine = batch[self.rank :: self.world] or batch[:1]
        size = self.micro_batch or len(batch)
        passes = math.ceil(math.ceil(len(batch) / self.world) / size)
        cuts = [mine[i * size : (i + 1) * size] for i in range(passes)]
        return [cut or mine[:1] for cut in cuts]

    def weight(self, step: int, part: int) -> float:
        """Factor of the summed loss of a forward pass, so that the step averages over all its clips."""
        batch = self.batch(step)
        mine = len(batch[self.rank :: self.world])
        size = self.micro_batch or len(batch)
        # Distributed training averages gradients over processes; times `world` makes that a sum.
        return self.world / len(batch) if part * size < mine else 0.0

    def sampler(self, first_step: int) -> Iterator[list[Key]]:
        """All forward passes of this process from a step on, for a data loader."""
        for step in range(first_step, self.total_steps):
            yield from self.micro_batches(step)


@lru_cache(maxsize=64)  # of models that train together; a loader that reads ahead may be an epoch further than the loop
def _order(seed: int, epoch: int, clips: int) -> NDArray[np.int64]:
    return np.random.RandomState(item_seed(seed, epoch)).permutation(clips)
