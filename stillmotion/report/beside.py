"""Published numbers that stand beside a benchmark's: of the same data set and protocol, those of its methods first."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from stillmotion.data.set_names import set_of
from stillmotion.errors import StillmotionError
from stillmotion.published.read import CLASSES, Number, published, select
from stillmotion.report.page import NOTHING, Cell, Table
from stillmotion.report.tables import Bench

METRICS = {None: "top-1", "base": "base", "novel": "novel", "harmonic mean": "HM"}


@dataclass(frozen=True)
class Beside:
    """The published numbers for one set of a benchmark; no data set, or no rows: there are none, as the page says."""

    name: str
    dataset: str | None
    table: Table
    other_classes: str = ""
    """How many classes the clips have, where the data set has another number."""


def beside(bench: Bench, name: str | None, dataset: str | None, methods: Sequence[str]) -> Beside:
    """What is printed for a data set in this protocol, with as many clips of each class; by metric in columns."""
    metrics = [m for m in METRICS.values() if (m == "top-1") != (bench.protocol == "base-to-novel")]
    shots = {one.row["cell"]["shots"] for one in bench.rows}
    rows = [r for r in _numbers(bench.protocol, dataset) if r.metric in metrics and _same_shots(r, shots)]
    ours = {r for method in methods for r in _of(rows, method)}
    together: dict[tuple[Any, ...], dict[str, str]] = {}
    for r in sorted(rows, key=lambda r: r not in ours):
        frames = NOTHING if r.frames is None else f"{r.frames} x {r.views}" if r.views else str(r.frames)
        more = "; ".join(filter(None, (r.variant, r.pretrained and f"trained before on {r.pretrained}", r.split)))
        note = ": ".join(filter(None, (r.status, r.note)))
        key = (r.method, r.backbone, r.shots, frames, more, r.source, note)
        together.setdefault(key, {})[r.metric] = _value(r)
    few = any(shots)
    body: list[tuple[Cell, ...]] = []
    for (method, backbone, K, frames, more, source, note), values in together.items():
        numbers = [values.get(metric, NOTHING) for metric in metrics]
        body.append(
            (
                method,
                backbone,
                *((NOTHING if K is None else str(K),) if few else ()),
                *numbers,
                frames,
                more or NOTHING,
                source,
                note or NOTHING,
            )
        )
    head = ("method", "backbone", *(("K",) if few else ()), *metrics, "frames x views", "setting", "printed in", "note")
    return Beside(name or "", dataset, Table(head, body, open_rows=12), _classes(bench, name, dataset))


def same_method(protocol: str, line: Mapping[str, Any], dataset: str | None, method: str) -> str | None:
    """The numbers that are printed for a line's method, data set and shots, lowest to highest; None: there are none."""
    wanted = METRICS[line["part"]]
    rows = [r for r in _of(_numbers(protocol, dataset), method) if r.metric == wanted]
    values = sorted(r.value for r in rows if _same_shots(r, {line["shots"]}))
    if not values:
        return None
    return f"{values[0]:.1f} %" if len(set(values)) == 1 else f"{values[0]:.1f} to {values[-1]:.1f} %"


def _classes(bench: Bench, name: str | None, dataset: str | None) -> str:
    """Of the protocols that test all classes of a set together."""
    found = {one.classes for one in bench.rows if set_of(one.row["cell"]["split"]) == name and one.classes}
    if dataset is None or len(found) != 1 or bench.protocol not in ("supervised", "few-shot"):
        return ""
    count = found.pop()
    return "" if count == CLASSES[dataset] else f"{count} classes where {dataset} has {CLASSES[dataset]}"


def _numbers(protocol: str, dataset: str | None) -> list[Number]:
    """The numbers of a data set; those from memory are left out."""
    if dataset is None:
        return []
    try:
        found = select(published(), dataset=dataset, setting=protocol)
    except StillmotionError:  # nothing is printed for it
        return []
    return [row for row in found if row.status != "unverified"]


def _same_shots(row: Number, shots: Set[int | None]) -> bool:
    """Whether a number is of one of these counts of clips, or its source does not say; None: of any."""
    return None in shots or row.shots is None or row.shots in shots


def _of(rows: Sequence[Number], method: str) -> list[Number]:
    try:
        return select(rows, method=method)
    except StillmotionError:  # a method that no paper of this list has
        return []


def _value(row: Number) -> str:
    spread = "" if row.spread is None else f" \N{PLUS-MINUS SIGN} {row.spread:g}"
    return f"{row.value:.1f}{spread}" if row.value == round(row.value, 1) else f"{row.value:g}{spread}"
