"""Does the task need the order of frames? The accuracies on shuffled, reversed and frozen clips, as a table."""

from collections.abc import Mapping
from typing import Any

from stillmotion.eval.order import needing
from stillmotion.report.page import Bar, Cell, Table, accuracy

WAYS = {
    "full": "as filmed",
    "shuffled": "frames shuffled",
    "reversed": "played backwards",
    "frozen": "one frame repeated",
}


def order_table(order: Mapping[str, Any]) -> Table:
    """Accuracies of all videos and of each class; the classes that need the order are marked by a word."""
    names = set(needing(order))
    rows: list[tuple[Cell, ...]] = [("all videos", *(accuracy(order[way]) for way in WAYS), "")]
    for name, numbers in order.get("per_class", {}).items():
        bars = (Bar(f"{100 * numbers[way]:.0f} %", numbers[way]) for way in WAYS)
        rows.append((name, *bars, "yes" if name in names else "no"))
    return Table(("class", *WAYS.values(), "needs order"), rows, best=0)
