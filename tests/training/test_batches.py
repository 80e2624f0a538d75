"""Every clip once an epoch, whatever the batch, the accumulation and the number of processes."""

from collections import Counter
from itertools import product

import pytest

from stillmotion.training.batches import BatchPlan

SETTINGS = list(product((7, 8, 20), (1, 4, 8, 64), (None, 1, 3), (1, 2, 3)))


@pytest.mark.parametrize(("clips", "batch", "micro", "world"), SETTINGS)
def test_every_clip_counts_exactly_once(clips: int, batch: int, micro: int | None, world: int) -> None:
    plans = [BatchPlan(clips, batch, micro, 2, 3, rank, world) for rank in range(world)]
    for epoch in range(2):
        weight: Counter[int] = Counter()
        for step in range(epoch * plans[0].steps_per_epoch, (epoch + 1) * plans[0].steps_per_epoch):
            parts = [plan.micro_batches(step) for plan in plans]
            assert len({len(p) for p in parts}) == 1, "processes must take equally many passes"
            for plan, passes in zip(plans, parts):
                for number, part in enumerate(passes):
                    assert 1 <= len(part) <= (micro or batch)
                    for e, clip in part:
                        assert e == epoch
                        # Processes are averaged, so each contributes weight / world; a step averages over its clips.
                        weight[clip] += plan.weight(step, number) / world * len(plan.batch(step))
        assert sorted(weight) == list(range(clips))
        assert all(w == pytest.approx(1) for w in weight.values())


def test_epochs_have_their_own_order_and_seeds_too() -> None:
    plan = BatchPlan(30, 30, None, 2, 0)
    other = BatchPlan(30, 30, None, 2, 1)
    orders = [[c for _, c in p.batch(s)] for p, s in ((plan, 0), (plan, 1), (other, 0))]
    assert len({tuple(o) for o in orders}) == 3
    assert orders[0] == [c for _, c in BatchPlan(30, 30, None, 2, 0).batch(0)]
