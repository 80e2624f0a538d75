"""Learning rates equal the releases' curves."""

import math

import pytest

from stillmotion.training.schedule import overlaid_cosine, schedule, warmup_cosine
from tests.golden.recipe import load

GOLDEN = load("sampling")


@pytest.mark.golden
def test_overlaid_cosine_of_xclip_and_vificlip() -> None:
    """10 epochs of 10 steps, 5 of warm-up; entry s is the rate that optimizer step s uses."""
    golden = GOLDEN["xclip_vifi_schedule"]
    curve = schedule("overlaid_cosine", 8e-6, 100, 50)
    for step, rates in zip(golden["at"], golden["lrs"]):
        for factor, expected in zip((1, 10), rates):
            assert curve(factor, step) == pytest.approx(expected, rel=1e-12, abs=1e-20)


def test_the_rate_drops_where_the_warm_up_ends() -> None:
    before, after = (overlaid_cosine(1.0, u, 100, 50, 0.01) for u in (49, 50))
    assert before == pytest.approx(0.98)
    assert after == pytest.approx(0.01 + 0.99 * 0.5)


@pytest.mark.golden
def test_actionclip_by_fractional_epoch() -> None:
    for epoch, expected in GOLDEN["actionclip_schedule"]["lr"].items():
        assert warmup_cosine(5e-6, float(epoch), 50, 5) == pytest.approx(expected, rel=1e-12)


def test_evl_is_a_cosine_from_the_first_step() -> None:
    curve = schedule("warmup_cosine", 4e-4, 50, 0)
    assert [curve(1, s) for s in (0, 25, 50)] == pytest.approx([4e-4, 2e-4, 0])
    assert curve(1, 10) == pytest.approx(4e-4 * 0.5 * (1 + math.cos(math.pi / 5)))


def test_constant() -> None:
    assert schedule("constant", 1e-4, 10, 0)(2, 7) == 2e-4
