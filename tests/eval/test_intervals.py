"""Intervals and tests agree with published numbers and with plain counting."""

from itertools import product
from math import comb

import pytest

from stillmotion.eval.intervals import Paired, wilson


@pytest.mark.parametrize(
    ("right", "total", "expected"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_is_the_published_one(right: int, total: int, expected: tuple[float, float]) -> None:
    assert wilson(right, total) == pytest.approx(expected, abs=5e-5)
    mirrored = wilson(total - right, total)
    assert mirrored == pytest.approx((1 - expected[1], 1 - expected[0]), abs=5e-5)


def test_wilson_of_nothing_and_its_width() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(50, 100)
    assert wilson(500, 1000)[1] < high
    assert wilson(50, 100, confidence=0.99)[0] < low
    for total in range(1, 12):
        for right in range(total + 1):
            low, high = wilson(right, total)
            assert 0 <= low <= right / total <= high <= 1


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 2), (2, 5), (10, 0), (6, 6)])
def test_mcnemar_is_all_outcomes_counted(first: int, second: int) -> None:
    n = first + second
    as_far = [k for k in range(n + 1) if abs(2 * k - n) >= abs(first - second)]
    assert Paired(40, first, second).p_value == pytest.approx(sum(comb(n, k) for k in as_far) / 2**n)


def test_the_interval_of_a_difference_covers_the_truth() -> None:
    """Over all outcomes of 30 videos under known probabilities, about 95 % of intervals hold the true difference."""
    N, a, b = 30, 0.25, 0.1
    covered = 0.0
    for i, j in product(range(N + 1), repeat=2):
        if i + j <= N:
            chance = comb(N, i) * comb(N - i, j) * a**i * b**j * (1 - a - b) ** (N - i - j)
            low, high = Paired(N, i, j).interval()
            covered += chance * (low <= a - b <= high)
    assert 0.94 <= covered <= 0.98


def test_a_difference_has_a_sign() -> None:
    one, other = Paired(20, 6, 1), Paired(20, 1, 6)
    assert one.difference == pytest.approx(0.25)
    assert one.interval() == pytest.approx(tuple(-end for end in reversed(other.interval())))
    assert one.p_value == other.p_value
