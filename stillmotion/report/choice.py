"""The part of a page that says which candidate was chosen, and whether the task needs the order of frames."""

from collections.abc import Mapping
from typing import Any

from stillmotion.errors import StillmotionError
from stillmotion.eval.order import in_words
from stillmotion.progress import duration
from stillmotion.report.order_test import order_table
from stillmotion.report.page import Bar, Table


def choice(auto: Mapping[str, Any], order: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the template `choice.html` shows: candidates of auto.json, and whether the task needs the order of frames.
    Raises `StillmotionError`: something is missing.

    `order` is an order test of a run's own numbers, where auto.json has none.
    """
    try:
        order = auto.get("order") or order
        held_out = (auto.get("held_out") or {}).get("top1")
        return {
            "candidates": candidates(auto) if auto.get("candidates") else None,
            "winner": auto.get("winner", ""),
            "reason": auto.get("reason", ""),
            "held_out": held_out,
            "order_words": in_words(order) if order else "",
            "order": order_table(order) if order else None,
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise StillmotionError(f"auto.json lacks what a page shows ({error!r}); make the run again") from error


def candidates(auto: Mapping[str, Any]) -> Table:
    """The candidates of a search, the best mean first, the winner marked."""
    found = sorted(auto["candidates"], key=lambda c: (bool(c.get("dropped")), -c["mean"]))
    rows = []
    for c in found:
        spread, mark = c["spread"], " (chosen)" if c["name"] == auto.get("winner") else ""
        mark = " (dropped after one fold)" if c.get("dropped") else mark
        share = f"{100 * c['mean']:.1f} %" + ("" if spread is None else f" ± {100 * spread:.1f}")
        around = None if spread is None else (max(0.0, c["mean"] - spread), min(1.0, c["mean"] + spread))
        folds = ", ".join(f"{100 * fold:.0f}" for fold in c.get("folds", ()))
        bar = Bar(share, c["mean"], around)
        rows.append((f"{c['name']}{mark}", bar, folds, f"{c['parameters']:,}", duration(c["seconds"])))
    best = next((i for i, c in enumerate(found) if c["name"] == auto.get("winner")), None)
    return Table(("candidate", "accuracy, mean ± spread", "folds, %", "parameters", "time"), rows, best)
