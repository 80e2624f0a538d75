"""Does a task need the order of frames? A model's accuracy on its test clips with that order taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stillmotion.errors import StillmotionError

FULL = "full"
NEEDS = 0.2
"""A class needs the order where shuffling or reversing its frames costs it this part of its videos or more."""

LITTLE = 0.1
"""A model that is not this part of the way from chance to perfect says nothing about the order of frames."""


@dataclass(frozen=True, repr=False)
class OrderTest:
    """Top-1 on the same clips, in [0, 1], with frames in full order and in others, by the name of the order."""

    top1: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    """The same of every class that has clips."""

    @classmethod
    def of(cls, labels: Tensor, predicted: Mapping[str, Tensor], classes: Sequence[str]) -> "OrderTest":
        """From the labels (N,) of videos, and the classes (N,) that they were called, by the name of the order."""
        right = {order: found == labels for order, found in predicted.items()}
        there = [k for k in range(len(classes)) if bool((labels == k).any())]
        return cls(
            top1={order: _part(hits) for order, hits in right.items()},
            per_class={classes[k]: {order: _part(hits[labels == k]) for order, hits in right.items()} for k in there},
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "OrderTest":
        """From what `to_dict` gives. Raises `StillmotionError`: it is something else."""
        try:
            top1 = {str(name): float(value) for name, value in content.items() if name != "per_class"}
            per_class = {
                str(k): {str(n): float(x) for n, x in found.items()} for k, found in content["per_class"].items()
            }
            in_words({**top1, "per_class": per_class})
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise StillmotionError(
                f"the order test is damaged ({error!r:.80}); evaluate with --order-test again"
            ) from error
        return cls(top1, per_class)

    def __repr__(self) -> str:
        return f"<OrderTest: {', '.join(f'{order} {100 * top1:.1f} %' for order, top1 in self.top1.items())}>"

    def __str__(self) -> str:
        return in_words(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.top1, "per_class": {name: dict(found) for name, found in self.per_class.items()}}


def _part(hits: Tensor) -> float:
    return int(hits.sum()) / len(hits)


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
    chance = 1 / max(2, len(order.get("per_class", {})))
    if full - chance < LITTLE * (1 - chance):
        return f"This model gives {100 * full:.0f} %, hardly more than chance, so it cannot tell what order is worth."
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
