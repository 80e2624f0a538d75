"""Does a task need the order of frames? A model's accuracy on its test clips with that order taken away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import nn

from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Report

FULL = "full"
NEEDS = 0.2
"""A class needs the order where shuffling or reversing its frames costs it this part of its videos or more."""


@dataclass(frozen=True)
class OrderTest:
    """Top-1 on the same clips, in [0, 1], with frames in full order and in others, by the name of the order."""

    top1: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    """The same of every class that has clips."""

    def __str__(self) -> str:
        return in_words(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.top1, "per_class": {name: dict(found) for name, found in self.per_class.items()}}


def order_test(model: nn.Module, full: Report, orders: Mapping[str, Any], accelerator: Accelerator) -> OrderTest:
    """Score a closed-set model with the frames of its test clips in other orders; raises as `evaluate.score`.

    Args:
        model: in evaluation mode.
        full: of the same clips as they are.
        orders: data sets of the clips, by the name of the order of their frames.
    """
    reports = {FULL: full}
    for name, dataset in orders.items():
        reports[name] = Report.of(score(model, dataset, accelerator, quiet=True), full.classes)
    classes = [k for k, row in enumerate(full.confusion) if sum(row)]
    right = {name: [r.confusion[k][k] / sum(r.confusion[k]) for k in classes] for name, r in reports.items()}
    return OrderTest(
        top1={name: report.top1 for name, report in reports.items()},
        per_class={full.classes[k]: {n: right[n][i] for n in right} for i, k in enumerate(classes)},
    )


def needing(order: Mapping[str, Any]) -> list[str]:
    """The classes that lose `NEEDS` or more of their accuracy when frames are shuffled or played backwards."""
    found = order.get("per_class", {})
    return [
        name
        for name, numbers in found.items()
        if numbers["full"] - min(numbers["shuffled"], numbers["reversed"]) >= NEEDS - 1e-9
    ]


def in_words(order: Mapping[str, Any]) -> str:
    """One sentence: what appearance gives, what the order of frames adds, and which classes need it.

    It speaks of one model, which may not see what another would.
    """
    full, shuffled, names = order["full"], order["shuffled"], needing(order)
    points = 100 * (full - min(shuffled, order["reversed"]))
    if all(order[way] == full for way in ("shuffled", "reversed")) and not names:
        return f"This model gives {100 * full:.0f} % in any order of the frames: it uses none."
    how = "Appearance alone" if shuffled <= order["reversed"] else "The clip backwards"
    adds = f"order adds {_count(points)}" if points > 0 else "the order of frames adds nothing"
    who = f"{_listed(names)} {'needs' if len(names) == 1 else 'need'} it" if names else "no class needs it"
    return f"{how} gives {100 * min(shuffled, order['reversed']):.0f} %, {adds}; {who}."


def _count(points: float) -> str:
    if round(points) == 0:
        return "less than a point"
    return "1 point" if round(points) == 1 else f"{points:.0f} points"


def _listed(names: list[str]) -> str:
    some = names[:6] + ([f"{len(names) - 6} more"] if len(names) > 6 else [])
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"
