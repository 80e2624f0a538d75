"""The rows of a benchmark's table, and what they come to over seeds, splits and halves of the classes."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stillmotion.bench.cells import Cell
from stillmotion.bench.protocols import BASE, NOVEL
from stillmotion.data.set_names import set_of
from stillmotion.eval.intervals import Interval
from stillmotion.eval.report import Report

Json = dict[str, Any]


def row(cell: Cell, report: Report, interval: Interval, seconds: float, megabytes: float) -> Json:
    """One row: accuracies in [0, 1] with a 95 % interval of top-1, videos scored and skipped, what it cost.

    `seconds` are of the optimizer steps of a model that was trained beside these clips, else of scoring them.
    """
    return {
        "method": cell.method,
        "cell": cell.keys(),
        "top1": report.top1,
        "top5": report.top5,
        "mean_class": report.mean_class,
        "interval": list(interval),
        "videos": report.scored,
        "skipped": len(report.bad),
        "seconds": seconds,
        "peak_memory_mb": megabytes,
    }


def cannot(cell: Cell, reason: str) -> Json:
    """The row of a cell that a method cannot fill."""
    nothing = dict.fromkeys(("top1", "top5", "mean_class", "interval", "videos", "skipped"))
    return {
        "method": cell.method,
        "cell": cell.keys(),
        **nothing,
        "seconds": 0.0,
        "peak_memory_mb": 0.0,
        "note": reason,
    }


def summary(rows: Sequence[Json]) -> list[Json]:
    """Mean and standard deviation of every method over seeds and splits of one set, in [0, 1]; of base and novel
    classes also the harmonic mean of the two means (ViFi-CLIP, table 2).

    `std` is that of the sample, None of one row; None where a method cannot fill its cells.
    """
    found = []
    for key, of_key in _grouped(rows, lambda r: (r["method"], r["cell"]["shots"], _set(r), r["cell"]["part"])):
        method, shots, name, part = key
        found.append({"method": method, "shots": shots, "set": name, "part": part, **_over(of_key)})
    for (method, shots, name), of_method in _grouped(found, lambda s: (s["method"], s["shots"], s["set"])):
        halves = {one["part"]: one["top1"] for one in of_method}
        if halves.keys() >= {BASE, NOVEL}:
            mean = harmonic_mean(halves[BASE], halves[NOVEL])
            apart = {"method": method, "shots": shots, "set": name, "part": "harmonic mean"}
            found.append({**apart, "top1": mean, "std": None, "mean_class": None, "rows": of_method[0]["rows"]})
    return found


def harmonic_mean(base: float | None, novel: float | None) -> float | None:
    """2bn / (b + n) of two accuracies, 0 where both are; None where one is not known."""
    if base is None or novel is None:
        return None
    return 2 * base * novel / (base + novel) if base + novel else 0.0


def _set(r: Json) -> str | None:
    return set_of(r["cell"]["split"])


def _over(rows: Sequence[Json]) -> Json:
    top1 = [r["top1"] for r in rows if r["top1"] is not None]
    known = len(top1) == len(rows)
    return {
        "top1": statistics.fmean(top1) if known else None,
        "std": statistics.stdev(top1) if known and len(top1) > 1 else None,
        "mean_class": statistics.fmean(r["mean_class"] for r in rows) if known else None,
        "rows": len(rows),
    }


def _grouped(rows: Iterable[Json], key: Callable[[Json], Any]) -> list[tuple[Any, list[Json]]]:
    """Rows by a key, in the order in which keys first occur."""
    found: dict[Any, list[Json]] = {}
    for one in rows:
        found.setdefault(key(one), []).append(one)
    return list(found.items())
