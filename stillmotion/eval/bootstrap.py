"""Bootstrap intervals over videos, or over what they come from: of an accuracy, and of a difference on the same videos.

Clips of one recording are no independent draws. Where their sources are known whole sources are drawn (the cluster
bootstrap: Field and Welsh, "Bootstrapping clustered data", 2007, section 2), so an interval is as wide as it should be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from stillmotion.data.manifest import Clip, Manifest, group_key
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.intervals import CONFIDENCE, Interval
from stillmotion.eval.report import Predictions, Scores

Metric = Literal["top1", "mean_class"]
RESAMPLES = 2000
BATCH = 100
"""Resamples that are in memory at once."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """What each of N videos adds to an accuracy: whether it is right (N,), its class (N,) of K, its source (N,)."""

    right: Array
    labels: NDArray[np.int64]
    classes: int
    sources: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Scores, sources: Sequence[str] | None = None) -> "Outcomes":
        """Of scores; without `sources` each video is its own."""
        right = (scores.probabilities.argmax(dim=1) == scores.labels).double().numpy()
        names = range(len(right)) if sources is None else sources
        place = {name: i for i, name in enumerate(dict.fromkeys(names))}
        of = np.array([place[name] for name in names], dtype=np.int64)
        return cls(right, scores.labels.numpy(), scores.probabilities.shape[1], of)

    @property
    def num_sources(self) -> int:
        """Different sources among the videos."""
        return int(self.sources.max()) + 1

    def table(self, values: Array) -> Array:
        """Sums (sources, K) of values (N,) by source and class."""
        found = np.zeros((self.num_sources, self.classes))
        np.add.at(found, (self.sources, self.labels), values)
        return found


def sources_of(predictions: Predictions, group: str | None) -> list[str] | None:
    """The source of each video: what a regular expression finds in its path, as in training (`--group`); None: none.
    Raises `DataError`: no regular expression, one that does not match every path, or that puts all into one group.
    """
    if group is None:
        return None
    clips = tuple(Clip(Path(path), int(label)) for path, label in zip(predictions.paths, predictions.labels))
    manifest = Manifest(clips, predictions.classes)
    key = group_key(manifest, group)
    return [key(clip) for clip in manifest.clips]


def accuracy_interval(
    outcomes: Outcomes,
    metric: Metric = "top1",
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap interval of an accuracy over videos or sources, both ends in [0, 1].

    Where all are right, or all wrong, it has no width: Wilson's says more there. Of one source it is everything.
    """
    return _interval(outcomes, [outcomes.right], metric, seed, resamples, confidence)


def difference_interval(
    first: Outcomes,
    second: Outcomes,
    metric: Metric = "top1",
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Paired percentile bootstrap of the first accuracy less the second on the same videos in order, in [-1, 1].

    Each draw of videos (or sources) is the same for both models, so that what is hard for both cancels.
    Raises `DataError`: other videos, by their number or their labels.
    """
    if len(first.right) != len(second.right) or not np.array_equal(first.labels, second.labels):
        raise DataError("a paired bootstrap is of the same videos in the same order; align them")
    return _interval(first, [first.right, second.right], metric, seed, resamples, confidence)


def value(outcomes: Outcomes, metric: Metric = "top1") -> float:
    """The accuracy itself, in [0, 1]: over videos, or the mean over the classes that occur."""
    hits, counts = (outcomes.table(v).sum(axis=0) for v in (outcomes.right, np.ones_like(outcomes.right)))
    return float(_of[metric](hits, counts))


def _interval(
    outcomes: Outcomes, rights: Sequence[Array], metric: Metric, seed: int, resamples: int, confidence: float
) -> Interval:
    """SciPy draws sources; a draw's accuracy is made of their sums by class."""
    if resamples < 1:
        raise StillmotionError(f"resamples is {resamples}; it must be at least 1")
    n, of = outcomes.num_sources, _of[metric]
    if n < 2:
        return (0.0, 1.0) if len(rights) == 1 else (-1.0, 1.0)
    counts = outcomes.table(np.ones_like(rights[0]))
    tables = [outcomes.table(right) for right in rights]

    def statistic(drawn: NDArray[np.int64], axis: int = -1) -> Array:
        # (draws, n) places of sources, or (n,); how often each was drawn makes the sums (draws, K).
        places = np.atleast_2d(drawn.astype(np.int64))
        weights = np.stack([np.bincount(row, minlength=n) for row in places]).astype(np.float64)
        seen = weights @ counts
        values = [of(weights @ table, seen) for table in tables]
        difference = values[0] - values[1] if len(values) == 2 else values[0]
        return difference if drawn.ndim == 2 else difference[0]

    found = bootstrap(
        (np.arange(n),),
        statistic,
        n_resamples=resamples,
        batch=BATCH,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _top1(hits: Array, counts: Array) -> Array:
    return np.asarray(hits.sum(axis=-1) / counts.sum(axis=-1))


def _mean_class(hits: Array, counts: Array) -> Array:
    """Over the classes that are in a draw."""
    rates = np.divide(hits, counts, out=np.zeros_like(hits), where=counts > 0)
    return np.asarray(rates.sum(axis=-1) / (counts > 0).sum(axis=-1))


_of: dict[str, Callable[[Array, Array], Array]] = {"top1": _top1, "mean_class": _mean_class}
