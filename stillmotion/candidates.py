"""What is chosen among: candidates with their results on folds, which are dropped early, and which one wins."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import binomtest
from torch import Tensor

from stillmotion.experiment import Result
from stillmotion.progress import say
from stillmotion.recipes.base import Recipe

LEVEL = 0.01
"""Chance at which a candidate that is dropped early was only unlucky."""


@dataclass
class Candidate:
    """One row of the table: a recipe, and its results on the folds that it was trained on."""

    name: str
    recipe: Recipe[Any]
    results: list[Result] = field(default_factory=list)
    dropped: bool = False

    @property
    def folds(self) -> list[float]:
        """Top-1 on every fold, in [0, 1]."""
        return [result.report.top1 for result in self.results]

    @property
    def mean(self) -> float:
        """Mean top-1 over the folds, in [0, 1]."""
        return statistics.fmean(self.folds)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the folds; None: it was trained on one alone."""
        return statistics.stdev(self.folds) if len(self.results) > 1 else None

    @property
    def parameters(self) -> int:
        """How many train."""
        return self.results[0].trained_parameters

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        seconds = sum(result.seconds for result in self.results)
        numbers = {"mean": self.mean, "spread": self.spread, "parameters": self.parameters, "seconds": seconds}
        return {"name": self.name, **numbers, "folds": self.folds, "dropped": self.dropped}


def drop_worse(candidates: Sequence[Candidate]) -> None:
    """Drop those that lose to the best one on the clips of the last fold beyond doubt."""
    best = max(candidates, key=lambda c: c.folds[-1])
    right = {c.name: _right(c.results[-1]) for c in candidates}
    for candidate in candidates:
        won = int((right[best.name] & ~right[candidate.name]).sum())
        lost = int((right[candidate.name] & ~right[best.name]).sum())
        if won + lost and binomtest(won, won + lost, alternative="greater").pvalue < LEVEL:
            candidate.dropped = True
            say(f"{candidate.name} is dropped: {best.name} is right on {won} clips where it is wrong, wrong on {lost}")


def _right(result: Result) -> Tensor:
    return result.scores.probabilities.argmax(dim=1) == result.scores.labels


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The cheapest candidate within one standard error of the best mean."""
    best = max(candidates, key=lambda c: c.mean)
    error = (best.spread or 0.0) / len(best.folds) ** 0.5
    return min((c for c in candidates if c.mean >= best.mean - error), key=lambda c: (c.parameters, -c.mean))


def table(candidates: Sequence[Candidate], winner: Candidate) -> list[tuple[str, ...]]:
    """The candidates as text, header first."""
    rows: list[tuple[str, ...]] = [("candidate", "mean top-1", "spread", "folds", "trained parameters", "training")]
    for c in candidates:
        spread = "" if c.spread is None else f"{100 * c.spread:.1f}"
        mark = " *" if c is winner else ""
        seconds = f"{sum(result.seconds for result in c.results):.0f} s"
        numbers = (f"{100 * c.mean:.1f} %", spread, str(len(c.folds)), f"{c.parameters:,}", seconds)
        rows.append((c.name + mark, *numbers))
    return rows
