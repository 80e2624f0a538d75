"""The numbers that authors print, as data: what a run of a recipe is to be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published number."""

    dataset: str
    metric: str
    """top-1 or top-5; base or novel, top-1 on the classes that were trained on or on the others; HM, the harmonic mean
    of these two."""
    value: float
    """In percent, with the digits that were printed."""
    setting: str = ""
    """What else decides it: "3x1 views" (of time and of space), "K=2" (training clips of each class)."""
    source: str = ""
    """Where it stands: "table 1" of the method's paper, its "release", or another paper's table."""


TOP = (("top-1", ""), ("top-5", ""))
NOVEL = (("base", ""), ("novel", ""), ("HM", ""))
SHOTS = tuple(("top-1", f"K={k}") for k in (2, 4, 8, 16))
DATASETS = {"k400": "Kinetics-400", "k600": "Kinetics-600", "hmdb": "HMDB-51", "ucf": "UCF-101", "ssv2": "SSv2"}
Columns = Sequence[tuple[str, str]]


def printed(source: str, columns: Columns = TOP, setting: str = "", **rows: Sequence[float]) -> tuple[Published, ...]:
    """Numbers of one table: for each data set those of its first columns."""
    return tuple(
        Published(DATASETS[dataset], metric, value, setting or column, source)
        for dataset, values in rows.items()
        for (metric, column), value in zip(columns, values)
    )


def in_words(numbers: Sequence[Published]) -> list[str]:
    """One line a source: `table 1: Kinetics-400 83.8 top-1, 96.7 top-5 (4x3 views)`."""
    lines = []
    for source in dict.fromkeys(n.source for n in numbers):
        parts = []
        for dataset in dict.fromkeys(n.dataset for n in numbers if n.source == source):
            found = [n for n in numbers if (n.source, n.dataset) == (source, dataset)]
            values = {m: ", ".join(str(n.value) for n in found if n.metric == m) for m in (n.metric for n in found)}
            settings = ", ".join(dict.fromkeys(n.setting for n in found if n.setting))
            text = ", ".join(f"{value} {metric}" for metric, value in values.items())
            parts.append(f"{dataset} {text}{f' ({settings})' if settings else ''}")
        lines.append(f"{source}: {'; '.join(parts)}")
    return lines
