"""Learning rate by optimizer step: pure functions, equal to the releases' curves."""

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[float, int], float]
"""(factor of a parameter group, step from 0) to the rate of that step."""

ScheduleName = Literal["warmup_cosine", "overlaid_cosine", "constant"]


def schedule(name: ScheduleName, rate: float, total: int, warmup: int) -> Schedule:
    """Return the curve of a run.

    Args:
        name: `warmup_cosine` rises linearly from 0, then falls to 0 (ActionCLIP; EVL with no warm-up);
            `overlaid_cosine` is X-CLIP's and ViFi-CLIP's; `constant` stays (A5).
        rate: the base rate.
        total: optimizer steps of the run.
        warmup: steps of the linear rise.
    """
    if name == "constant":
        return lambda factor, step: factor * rate
    if name == "overlaid_cosine":
        return lambda factor, step: overlaid_cosine(factor * rate, step - 1, total, warmup, floor=rate / 100)
    return lambda factor, step: warmup_cosine(factor * rate, step, total, warmup)


def warmup_cosine(rate: float, time: float, total: float, warmup: float) -> float:
    """Linear from 0 over the warm-up, then cosine to 0 over the rest; time in steps or fractional epochs alike."""
    return rate * time / warmup if time < warmup else rate * _cosine((time - warmup) / (total - warmup))


def overlaid_cosine(rate: float, update: int, total: int, warmup: int, floor: float) -> float:
    """X-CLIP's and ViFi-CLIP's rate after update number `update` (-1: before the first).

    The warm-up is laid over a cosine that runs from step 0, so where it ends the rate drops to where the cosine
    already is. The releases set the rate after an optimizer step: the first two steps have rate 0. The floor, a
    hundredth of the base rate, is the same for every parameter group.
    """
    if update < 0:
        return 0.0
    return rate * update / warmup if update < warmup else floor + (rate - floor) * _cosine(update / total)


def _cosine(part: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * part))
