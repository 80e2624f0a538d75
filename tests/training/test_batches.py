"""Every clip once an epoch, whatever the batch, the accumulation and the number of processes."""

from collections import Counter
from itertools import product
from random import Random

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


LABELS = (0, 0, 0, 0, 0, 0, 1, 3, 3, 0, 0)  # 8 of class 0, one of 1, two of 3; 11 clips, so that 2 are left over


def test_balanced_draws_each_class_equally_often() -> None:
    plan = BatchPlan(11, 4, None, 6, 5, labels=LABELS)
    drawn: Counter[int] = Counter()
    keys = []
    for epoch in range(6):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        clips = [key for step in steps for key in plan.batch(step)]
        assert len(clips) == 11, "an epoch is as long as before"
        counts = Counter(LABELS[i] for _, i in clips)
        assert sorted(counts.values()) == [3, 4, 4]
        drawn += counts
        keys += clips
        assert drawn.total() == 11 * (epoch + 1)
        if (epoch + 1) % 3 == 0:
            assert set(drawn.values()) == {11 * (epoch + 1) // 3}, "exactly equal over as many epochs as classes"
    assert len(set(keys)) == len(keys), "no clip has the same random view twice"
    of_0 = [key for key in keys if LABELS[key[1]] == 0]
    times = Counter(i for _, i in of_0)
    assert set(times) == {i for i, label in enumerate(LABELS) if label == 0}
    assert max(times.values()) - min(times.values()) <= 1, "the clips of a class take turns"
    assert {turn for turn, i in keys if i == 6} == set(range(22)), "the only clip of a class is drawn for all of it"


def test_balanced_is_a_function_of_its_fields() -> None:
    """So that a run goes on at any step, and processes share a step without a word."""
    whole = BatchPlan(11, 4, None, 2, 5, labels=LABELS)
    later = [BatchPlan(11, 4, None, 2, 5, labels=LABELS).batch(s) for s in reversed(range(6))]
    assert [whole.batch(s) for s in range(6)] == later[::-1]
    other = BatchPlan(11, 4, None, 2, 6, labels=LABELS)
    assert [other.batch(s) for s in range(6)] != later[::-1]
    for step in range(6):
        shares = [BatchPlan(11, 4, 1, 2, 5, rank, 2, LABELS) for rank in (0, 1)]
        parts = [(key, p.weight(step, n)) for p in shares for n, k in enumerate(p.micro_batches(step)) for key in k]
        assert sorted(key for key, weight in parts if weight) == sorted(whole.batch(step))


@pytest.mark.parametrize("seed", range(20))
def test_balanced_for_any_labels(seed: int) -> None:
    draw = Random(seed)
    labels = tuple(draw.randrange(draw.randint(1, 6)) for _ in range(draw.randint(2, 40)))
    plan = BatchPlan(len(labels), len(labels), None, 5, seed, labels=labels)
    for epoch in range(5):
        counts = Counter(labels[i] for _, i in plan.batch(epoch))
        assert counts.total() == len(labels)
        assert max(counts.values()) - min(counts[k] for k in set(labels)) <= 1
