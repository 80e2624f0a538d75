"""How sure a number is: an interval for an accuracy, and for the difference of two models on the same videos.

All of it treats videos as independent draws. Clips of one recording are not, so the truth is less sure than this says;
`eval/bootstrap.py` draws whole recordings, where they are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from scipy.stats import binomtest

Interval = tuple[float, float]
CONFIDENCE = 0.95


def wilson(right: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion, both ends in [0, 1]; of nothing, all of it.

    Source: Wilson 1927; Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion", 2001, section 3.1.1.
    """
    if not total:
        return 0.0, 1.0
    ends = binomtest(right, total).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)


@dataclass(frozen=True)
class Paired:
    """Two models on the same N videos: how many only the first, or only the second, gets right."""

    videos: int
    only_first: int
    only_second: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> "Paired":
        """From what each gets right of the same videos in the same order."""
        both = list(zip(first, second, strict=True))
        return cls(len(both), sum(a and not b for a, b in both), sum(b and not a for a, b in both))

    @property
    def difference(self) -> float:
        """Accuracy of the first less that of the second, in [-1, 1]."""
        return (self.only_first - self.only_second) / self.videos

    def interval(self) -> Interval:
        """95 % interval of the difference: the adjusted Wald interval for paired proportions.

        Source: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
        Paired Data", 2012, equation 4.
        """
        first, second = ((count + 1) / (self.videos + 2) for count in (self.only_first, self.only_second))
        d = first - second
        half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt((first + second - d * d) / (self.videos + 2))
        return max(-1.0, d - half), min(1.0, d + half)

    @property
    def p_value(self) -> float:
        """Exact two-sided test of McNemar: how often equal models would differ as much, in [0, 1].

        It is the sign test on the videos that one model alone gets right (McNemar 1947).
        """
        n = self.only_first + self.only_second
        return float(binomtest(self.only_first, n).pvalue) if n else 1.0
