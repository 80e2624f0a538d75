"""Does a task need the order of frames? A model's accuracy on its test clips with that order taken away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import nn

from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Report

FULL = "full"
NEEDS = 0.3
"""Part of a class's clips that are right with the order alone, from which on the class is said to need it."""


@dataclass(frozen=True)
class OrderTest:
    """Top-1 on the same clips, in [0, 1], with frames in full order and in others, by the name of the order."""

    top1: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    """The same of every class that has clips."""

    @property
    def adds(self) -> float:
        """What the full order adds to a shuffled one, in [-1, 1]."""
        return self.top1[FULL] - self.top1["shuffled"]

    @property
    def needing(self) -> tuple[str, ...]:
        """Classes of which a shuffled order loses `NEEDS` or more, most first."""
        lost = {name: found[FULL] - found["shuffled"] for name, found in self.per_class.items()}
        return tuple(name for name in sorted(lost, key=lambda n: (-lost[n], n)) if lost[name] >= NEEDS)

    def __str__(self) -> str:
        points = 100 * self.adds
        adds = f"adds {points:.0f} points" if points >= 0.5 else "adds nothing"
        names = ", ".join(self.needing[:4]) + (f" and {len(self.needing) - 4} more" if len(self.needing) > 4 else "")
        needing = f"; {names} need{'s' * (len(self.needing) == 1)} it" if self.needing else ""
        frozen = f"{100 * self.top1['frozen']:.0f} % from the middle frame alone"
        return f"{100 * self.top1['shuffled']:.0f} % with frames shuffled ({frozen}), their order {adds}{needing}"

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
