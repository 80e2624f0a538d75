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


Values = tuple[float, ...]


def top(source: str, dataset: str, *values: float, setting: str = "") -> tuple[Published, ...]:
    """Top-1, and top-5 where it was printed."""
    return tuple(Published(dataset, m, v, setting, source) for m, v in zip(("top-1", "top-5"), values))


def zero_shot(source: str, hmdb: float, ucf: float, k600: float) -> tuple[Published, ...]:
    """Top-1 of a model of Kinetics-400 on the classes of other data sets."""
    return top(source, "HMDB-51", hmdb) + top(source, "UCF-101", ucf) + top(source, "Kinetics-600", k600)


def few_shot(source: str, hmdb: Values = (), ucf: Values = (), ssv2: Values = ()) -> tuple[Published, ...]:
    """Top-1 with 2, 4, 8 and 16 training clips of each class."""
    sets = {"HMDB-51": hmdb, "UCF-101": ucf, "SSv2": ssv2}
    return tuple(Published(d, "top-1", v, f"K={k}", source) for d in sets for k, v in zip((2, 4, 8, 16), sets[d]))


def base_to_novel(source: str, hmdb: Values, ucf: Values, ssv2: Values, k400: Values = ()) -> tuple[Published, ...]:
    """Top-1 on base and on novel classes, and their harmonic mean."""
    sets = {"Kinetics-400": k400, "HMDB-51": hmdb, "UCF-101": ucf, "SSv2": ssv2}
    return tuple(Published(d, m, v, "", source) for d in sets for m, v in zip(("base", "novel", "HM"), sets[d]))


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
