"""What is chosen among: candidates with their scores on folds, which are dropped early, and which one wins."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import binomtest
from torch import Tensor

from stillmotion.eval.report import Scores, mean_scores
from stillmotion.experiment import Result
from stillmotion.progress import say
from stillmotion.recipes.base import Recipe

LEVEL = 0.01
"""Chance that any candidate that is as good as the best is dropped early; it is shared out among them (Bonferroni)."""


@dataclass
class Candidate:
    """One row of the table: recipes (several are averaged), and the scores on the folds that they were trained on."""

    name: str
    recipes: tuple[Recipe[Any], ...]
    scores: list[Scores] = field(default_factory=list)
    parameters: int = 0
    """How many train."""
    seconds: float = 0.0
    """Time spent in optimizer steps, over the folds."""
    dropped: bool = False

    def add(self, result: Result) -> None:
        """Take the result on the next fold."""
        self.scores.append(result.scores)
        self.parameters, self.seconds = result.trained_parameters, self.seconds + result.seconds

    @property
    def folds(self) -> list[float]:
        """Top-1 on every fold, in [0, 1]."""
        return [float(right(scores).double().mean()) for scores in self.scores]

    @property
    def mean(self) -> float:
        """Mean top-1 over the folds, in [0, 1]."""
        return statistics.fmean(self.folds)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the folds; None: it was trained on one alone."""
        return statistics.stdev(self.folds) if len(self.scores) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        numbers = {"mean": self.mean, "spread": self.spread, "parameters": self.parameters, "seconds": self.seconds}
        return {"name": self.name, **numbers, "folds": self.folds, "dropped": self.dropped}


def right(scores: Scores) -> Tensor:
    """Which clips are right, (N,) bool."""
    return scores.probabilities.argmax(dim=1) == scores.labels


def average_of(parts: Sequence[Candidate]) -> Candidate:
    """The candidate whose class probabilities are the mean of those of others, on the folds that all of these have."""
    scores = [mean_scores(found) for found in zip(*(part.scores for part in parts))]
    return Candidate(
        name=" + ".join(part.name for part in parts),
        recipes=tuple(recipe for part in parts for recipe in part.recipes),
        scores=scores,
        parameters=sum(part.parameters for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


def drop_worse(candidates: Sequence[Candidate]) -> None:
    """Drop those that lose to the best one on the clips of the last fold, by a one-sided sign test at `LEVEL`."""
    best = max(candidates, key=lambda c: c.folds[-1])
    level = LEVEL / max(1, len(candidates) - 1)
    for candidate in candidates:
        one, other = right(best.scores[-1]), right(candidate.scores[-1])
        won, lost = int((one & ~other).sum()), int((other & ~one).sum())
        if won + lost and binomtest(won, won + lost, alternative="greater").pvalue < level:
            candidate.dropped = True
            say(f"{candidate.name} is dropped: {best.name} is right on {won} clips where it is wrong, wrong on {lost}")


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, str]:
    """The cheapest candidate within one standard error of the best mean, and a sentence that says why it is that one.

    Source: Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3.
    """
    best = max(candidates, key=lambda c: c.mean)
    error = (best.spread or 0.0) / len(best.scores) ** 0.5
    chosen = min((c for c in candidates if c.mean >= best.mean - error), key=lambda c: (c.parameters, -c.mean))
    if chosen.mean == best.mean:
        return chosen, f"{chosen.name} has the best mean."
    return chosen, (
        f"{chosen.name} is the smallest model within one standard error of the best mean: {best.name} is "
        f"{100 * (best.mean - chosen.mean):.1f} points better, give or take {100 * error:.1f}."
    )


def table(candidates: Sequence[Candidate], winner: Candidate) -> list[tuple[str, ...]]:
    """The candidates as text, header first."""
    rows: list[tuple[str, ...]] = [("candidate", "mean top-1", "± points", "folds", "trained parameters", "training")]
    for c in candidates:
        spread = "" if c.spread is None else f"{100 * c.spread:.1f}"
        mark = " *" if c is winner else ""
        numbers = (f"{100 * c.mean:.1f} %", spread, str(len(c.folds)), f"{c.parameters:,}", f"{c.seconds:.0f} s")
        rows.append((c.name + mark, *numbers))
    return rows
