"""Does the task need the order of frames? What accuracies on shuffled, reversed and frozen clips say, in words."""

from collections.abc import Mapping
from typing import Any

from stillmotion.report.page import Bar, Cell, Table, accuracy

NEEDS = 0.2
"""A class needs the order where shuffling or reversing its frames costs it this part of its videos or more."""
WAYS = ("full", "shuffled", "reversed", "frozen")
ABOUT = {
    "full": "as filmed",
    "shuffled": "frames shuffled",
    "reversed": "played backwards",
    "frozen": "one frame repeated",
}


def needing(order: Mapping[str, Any]) -> list[str]:
    """The classes that lose `NEEDS` or more of their accuracy when frames are shuffled or played backwards."""
    found = order.get("per_class", {})
    return [
        name
        for name, numbers in found.items()
        if numbers["full"] - min(numbers["shuffled"], numbers["reversed"]) >= NEEDS - 1e-9
    ]


def in_words(order: Mapping[str, Any]) -> str:
    """One sentence: what appearance gives, what the order of frames adds, and which classes need it."""
    full, shuffled = order["full"], order["shuffled"]
    points, names = 100 * (full - shuffled), needing(order)
    adds = f"order adds {_count(points)}" if points > 0 else "the order of frames adds nothing"
    who = f"{_listed(names)} {'needs' if len(names) == 1 else 'need'} it" if names else "no class needs it"
    return f"Appearance alone gives {100 * shuffled:.0f} %, {adds}; {who}."


def order_table(order: Mapping[str, Any]) -> Table:
    """Accuracies of all videos and of each class; the classes that need the order are marked by a word."""
    names = set(needing(order))
    rows: list[tuple[Cell, ...]] = [("all videos", *(accuracy(order[way]) for way in WAYS), "")]
    for name, numbers in order.get("per_class", {}).items():
        bars = (Bar(f"{100 * numbers[way]:.0f} %", numbers[way]) for way in WAYS)
        rows.append((name, *bars, "yes" if name in names else ""))
    return Table(("class", *(ABOUT[way] for way in WAYS), "needs order"), rows, best=0)


def _count(points: float) -> str:
    if round(points) == 0:
        return "less than a point"
    return "1 point" if round(points) == 1 else f"{points:.0f} points"


def _listed(names: list[str]) -> str:
    some = names[:6] + ([f"{len(names) - 6} more"] if len(names) > 6 else [])
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"
