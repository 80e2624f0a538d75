"""The order of training: which clips make up each optimizer step, for any number of processes, from any step on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stillmotion.data.seeds import item_seed

Key = tuple[int, int]
"""(how often the clip was drawn before, its index); without `labels` the first is the epoch."""


@dataclass(frozen=True)
class BatchPlan:
    """A permutation per epoch, cut into batches; the last one of an epoch may be smaller, none is dropped.

    With `labels`, the class of every clip, each class is drawn equally often in an epoch of the same length, to one
    clip, and exactly in as many epochs as there are classes. The clips of a class take turns, across epochs too.

    It is a function of its fields alone, so a resumed run continues with the very clips that were next.
    """

    clips: int
    batch_size: int
    micro_batch: int | None
    epochs: int
    seed: int
    rank: int = 0
    world: int = 1
    labels: tuple[int, ...] | None = field(default=None, hash=False, repr=False)

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
        part = slice(i * self.batch_size, (i + 1) * self.batch_size)
        if self.labels is not None:
            return _balanced(self, epoch)[part]
        return [(epoch, int(k)) for k in _order(self.seed, epoch, self.clips)[part]]

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

    def places(self, step: int, part: int, indices: Sequence[int]) -> list[int]:
        """Where the clips of a forward pass that could be read, of these indices in order, are in the whole batch."""
        size, places = self.micro_batch or len(self.batch(step)), []
        read = iter(indices)
        index = next(read, None)
        for i, (_, clip) in enumerate(self.micro_batches(step)[part]):
            if clip == index:
                places.append(self.rank + self.world * (part * size + i))
                index = next(read, None)
        return places

    def weight(self, step: int, part: int) -> float:
        """Factor of the summed loss of a forward pass, so that the step averages over all its clips."""
        batch = self.batch(step)
        mine = len(batch[self.rank :: self.world])
        size = self.micro_batch or len(batch)
        # Distributed training averages gradients over processes; times `world` makes that a sum.
        return self.world / len(batch) if part * size < mine else 0.0


@lru_cache(maxsize=64)  # of models that train together; a loader that reads ahead may be an epoch further than the loop
def _order(seed: int, epoch: int, clips: int) -> NDArray[np.int64]:
    return np.random.RandomState(item_seed(seed, epoch)).permutation(clips)


@lru_cache(maxsize=16)
def _balanced(plan: BatchPlan, epoch: int) -> list[Key]:
    assert plan.labels is not None and len(plan.labels) == plan.clips
    labels = np.array(plan.labels)
    classes = np.unique(labels)
    each, rest = divmod(plan.clips, len(classes))
    keys: list[Key] = []
    for k, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        # The classes that get one more take turns: class k has as many as numbers below e * rest are k modulo classes.
        before, after = (e * each + (e * rest + len(classes) - 1 - k) // len(classes) for e in (epoch, epoch + 1))
        for turn in range(before // len(members), math.ceil(after / len(members))):
            places = _order(item_seed(plan.seed, int(label)), turn, len(members))
            first = turn * len(members)
            keys += [(turn, int(members[i])) for i in places[max(before - first, 0) : max(after - first, 0)]]
    return [keys[i] for i in _order(plan.seed, epoch, plan.clips)]
