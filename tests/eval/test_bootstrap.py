"""Bootstrap intervals are those of all draws counted by hand, and hold the truth as often as they say."""

from itertools import product

import numpy as np
import pytest
import torch

from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.bootstrap import Outcomes, accuracy_interval, difference_interval, sources_of, value
from stillmotion.eval.intervals import Paired
from stillmotion.eval.report import Predictions, Report, Scores


def outcomes(right: list[int], labels: list[int] | None = None, sources: list[int] | None = None) -> Outcomes:
    N = len(right)
    y = np.array(labels or [0] * N)
    return Outcomes(np.array(right, dtype=float), y, int(y.max()) + 1, np.array(sources or range(N)))


def all_draws(right: list[int], labels: list[int], mean_class: bool) -> list[float]:
    """The accuracy of each of the N^N draws with replacement."""
    found = []
    for draw in product(range(len(right)), repeat=len(right)):
        by_class: dict[int, list[int]] = {}
        for i in draw:
            by_class.setdefault(labels[i] if mean_class else 0, []).append(right[i])
        found.append(float(np.mean([np.mean(v) for v in by_class.values()])))
    return found


@pytest.mark.parametrize("metric", ["top1", "mean_class"])
def test_it_is_the_percentiles_of_all_draws(metric: str) -> None:
    right, labels = [1, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1]
    exact = np.percentile(all_draws(right, labels, metric == "mean_class"), [10, 90])
    found = accuracy_interval(outcomes(right, labels), metric, resamples=20_000, confidence=0.8)  # type: ignore[arg-type]
    assert found == pytest.approx(tuple(exact), abs=0.04)
    assert found == accuracy_interval(outcomes(right, labels), metric, resamples=20_000, confidence=0.8)  # type: ignore[arg-type]


def test_the_values_are_those_of_the_report() -> None:
    torch.manual_seed(0)
    p, y = torch.rand(40, 4).softmax(dim=1), torch.randint(0, 3, (40,))
    scores = Scores(indices=torch.arange(40), labels=y, probabilities=p, total=40)
    report, found = Report.of(scores, ("a", "b", "c", "d")), Outcomes.of(scores)
    assert value(found) == pytest.approx(report.top1)
    assert value(found, "mean_class") == pytest.approx(report.mean_class)


def test_copies_of_a_recording_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2, 30).tolist()
    alone = accuracy_interval(outcomes(base))
    copied = [x for x in base for _ in range(5)]
    sources = [i for i in range(30) for _ in range(5)]
    assert accuracy_interval(outcomes(copied, sources=sources)) == pytest.approx(alone, abs=1e-9)
    low, high = accuracy_interval(outcomes(copied))
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_a_paired_interval_is_narrow_where_models_share_mistakes() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 2, 200)
    second = first.copy()
    second[:6] = 1 - second[:6]
    a, b = outcomes(first.tolist()), outcomes(second.tolist())
    low, high = difference_interval(a, b)
    assert low <= value(a) - value(b) <= high
    assert high - low < 0.06 < accuracy_interval(a)[1] - accuracy_interval(a)[0]
    assert difference_interval(a, a) == (0.0, 0.0)
    swapped = difference_interval(b, a)
    assert (-swapped[1], -swapped[0]) == pytest.approx((low, high), abs=0.006)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """500 simulated tests; 95 % intervals by percentile hold it in 92 to 97 % of them at these sizes."""
    rng, inside, paired = np.random.default_rng(2), 0, 0
    for trial in range(500):
        hard = rng.random(100)
        a, b = (outcomes((hard + 0.2 * rng.random(100) < p).astype(int).tolist()) for p in (0.8, 0.7))
        low, high = accuracy_interval(a, seed=trial, resamples=300)
        inside += low <= 0.7 <= high  # the chance of hard + 0.2 u < 0.8
        low, high = difference_interval(a, b, seed=trial, resamples=300)
        paired += low <= 0.1 <= high
    assert 0.91 <= inside / 500 <= 0.975
    assert 0.90 <= paired / 500 <= 0.975


def test_clusters_hold_the_truth_where_videos_alone_do_not() -> None:
    rng, whole, alone = np.random.default_rng(3), 0, 0
    for trial in range(200):
        rates = rng.choice([0.1, 0.9], 30)  # a recording is easy or hard; 0.5 in the mean
        right = (rng.random((30, 10)) < rates[:, None]).astype(int).ravel().tolist()
        sources = [i for i in range(30) for _ in range(10)]
        low, high = accuracy_interval(outcomes(right, sources=sources), seed=trial, resamples=300)
        whole += low <= 0.5 <= high
        low, high = accuracy_interval(outcomes(right), seed=trial, resamples=300)
        alone += low <= 0.5 <= high
    assert whole / 200 > 0.89
    assert alone / 200 < 0.7


def test_one_source_says_nothing_and_mistakes_are_named() -> None:
    assert accuracy_interval(outcomes([1, 0], sources=[0, 0])) == (0.0, 1.0)
    assert difference_interval(*[outcomes([1, 0], sources=[0, 0])] * 2) == (-1.0, 1.0)
    with pytest.raises(DataError, match="same videos"):
        difference_interval(outcomes([1, 0]), outcomes([1]))
    with pytest.raises(StillmotionError, match="resamples is 0"):
        accuracy_interval(outcomes([1, 0]), resamples=0)


def test_sources_are_named_by_their_paths() -> None:
    p = Predictions(
        indices=torch.arange(3), labels=torch.zeros(3).long(), probabilities=torch.ones(3, 1), total=3,
        name="p", classes=("a",), paths=("x/a_1.avi", "x/a_2.avi", "x/b_1.avi"),
    )  # fmt: skip
    assert sources_of(p, r"(\w)_\d") == ["a", "a", "b"]
    assert sources_of(p, None) is None
    assert Outcomes.of(p, sources_of(p, r"(\w)_\d")).sources.tolist() == [0, 0, 1]
    for group in ("(", "z_", "x"):
        with pytest.raises(DataError):
            sources_of(p, group)


def test_mcnemar_by_hand() -> None:
    """Of ten videos four are only the first's and none only the second's: p = 2 / 2^4."""
    found = Paired.of([True] * 6 + [False] * 4, [True] * 2 + [False] * 8)
    assert (found.videos, found.only_first, found.only_second) == (10, 4, 0)
    assert found.p_value == pytest.approx(0.125)
    assert found.difference == pytest.approx(0.4)
