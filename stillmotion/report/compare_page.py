"""Several finished runs side by side: numbers, what differs on the videos that they share, curves, every class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from stillmotion.errors import StillmotionError
from stillmotion.eval.intervals import Paired
from stillmotion.progress import duration
from stillmotion.report.about import about
from stillmotion.report.figures import COLORS, DASHES, curves_figures
from stillmotion.report.page import NOTHING, Bar, Cell, Table, accuracy, write_page
from stillmotion.report.runs import Run

MINUS = "\N{MINUS SIGN}"
MOST_PAIRED = 4
"""Runs of which every pair is compared; of more, each with the best one."""


@dataclass(frozen=True)
class Difference:
    """Two runs on the videos that both scored, none where they share none; `disagree` have another label in each."""

    first: str
    second: str
    paired: Paired | None
    disagree: int = 0


def write_comparison(path: Path, runs: Sequence[Run]) -> None:
    """Write the page of several runs.
    Raises `StillmotionError`: fewer than two, the same one twice, or the disk is full.
    """
    names = unique_names(runs)
    best = max(range(len(runs)), key=lambda i: (runs[i].report.top1, -i))
    same = len({frozenset(outcomes(run)) for run in runs}) == 1
    differences = [difference(runs[a], runs[b], names[a], names[b]) for a, b in pairs(len(runs), best)]
    curves = {name: run.metrics for name, run in zip(names, runs) if run.metrics}
    write_page(
        path,
        "compare",
        title=f"{len(runs)} runs side by side",
        best=names[best] if same else "",
        overview=overview(runs, names, best if same else None),
        differences=difference_table(differences),
        apart=[d for d in differences if d.paired is None or d.disagree],
        classes=classes_side_by_side(runs, names),
        figures=curves_figures(curves),
        names=list(curves),
        colors=COLORS,
        dashes=DASHES,
        made=[(n, r.origin.get("command", ""), about(r)) for n, r in zip(names, runs)],
    )


def unique_names(runs: Sequence[Run]) -> list[str]:
    """A name for every run: its folder's, with as many of the folders above as tell it from the others.
    Raises `StillmotionError`: fewer than two runs, or the same one twice.
    """
    files = [(run.folder / run.kind.predictions).resolve() for run in runs]
    if len(runs) < 2:
        raise StillmotionError(f"a comparison of {len(runs)}; name two runs or more")
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise StillmotionError(f"{twice.parent} is given twice; name every run once")
    for depth in range(1, max(len(file.parts) for file in files)):
        names = ["/".join(file.parent.parts[-depth:]) for file in files]
        if len(set(names)) == len(names):
            return names
    return [str(file) for file in files]  # a training and an evaluation in one folder


def pairs(count: int, best: int) -> list[tuple[int, int]]:
    """Which runs are compared: all of a few, the best one with each of many."""
    if count <= MOST_PAIRED:
        return list(combinations(range(count), 2))
    return [(best, other) for other in range(count) if other != best]


def difference(a: Run, b: Run, first: str, second: str) -> Difference:
    """Compare two runs on the videos that both scored, by path and by the names of classes."""
    left, right = outcomes(a), outcomes(b)
    common = left.keys() & right.keys()
    same = [key for key in common if left[key][0] == right[key][0]]
    results = [(left[key][1], right[key][1]) for key in same]
    paired = Paired(len(same), results.count((True, False)), results.count((False, True))) if same else None
    return Difference(first, second, paired, len(common) - len(same))


def outcomes(run: Run) -> dict[str, tuple[str, bool]]:
    """By absolute path of every scored video: its class, and whether the run got it right."""
    p = run.predictions
    called = p.probabilities.argmax(dim=1).tolist()
    labels = p.labels.tolist()
    return {str(Path(x).absolute()): (p.classes[y], y == z) for x, y, z in zip(p.paths, labels, called)}


def overview(runs: Sequence[Run], names: Sequence[str], best: int | None) -> Table:
    """One row a run, the best one marked where one can be told."""
    five = all(run.report.has_top5 for run in runs)
    rows: list[tuple[Cell, ...]] = []
    for name, run in zip(names, runs):
        r = run.report
        trained = run.numbers.get("trained_parameters")
        more = (accuracy(r.top5),) if five else ()
        rows.append(
            (
                name,
                run.method or Path(str(run.numbers.get("config", {}).get("model", ""))).name or NOTHING,
                accuracy(r.top1, r.top1_interval),
                *more,
                accuracy(r.mean_class),
                str(r.scored) + (f" ({len(r.bad)} unreadable)" if r.bad else ""),
                NOTHING if trained is None else f"{trained:,}",
                duration(run.seconds) if run.metrics else NOTHING,
            )
        )
    top = ("top-1 (95 % interval)", *(("top-5",) if five else ()), "mean class")
    return Table(("run", "model", *top, "videos", "trained parameters", "steps took"), rows, best)


def difference_table(differences: Sequence[Difference]) -> Table:
    """One row a pair of runs that share videos."""
    rows: list[tuple[Cell, ...]] = []
    for d in differences:
        if d.paired is not None:
            low, high = (100 * end for end in d.paired.interval())
            points = f"{100 * d.paired.difference:+.1f} points ({low:+.1f} to {high:+.1f})"
            rows.append(
                (
                    f"{d.first} {MINUS} {d.second}",
                    points.replace("-", MINUS),
                    str(d.paired.videos),
                    str(d.paired.only_first),
                    str(d.paired.only_second),
                    f"{d.paired.p_value:.3f}" if d.paired.p_value >= 0.001 else "< 0.001",
                    verdict(d),
                )
            )
    head = ("pair", "difference (95 % interval)", "common videos", "only the first right", "only the second right")
    return Table((*head, "p (McNemar, exact)", "in words"), rows)


def verdict(d: Difference) -> str:
    """What a paired test says, in words, at 5 %."""
    assert d.paired is not None
    if d.paired.p_value >= 0.05:
        return "no difference that these videos show"
    return f"{d.first if d.paired.difference > 0 else d.second} is better"


def classes_side_by_side(runs: Sequence[Run], names: Sequence[str], order: Sequence[int] = ()) -> Table:
    """F1 of every class in every run, in an `order` of the first one's classes; of many, those that differ most first.

    Args:
        order: numbers of classes; none: as they come.
    """
    found: dict[str, list[Cell]] = {}
    spread: dict[str, float] = {}
    for number, run in enumerate(runs):
        r = run.report
        predicted = [sum(row[k] for row in r.confusion) for k in range(len(r.classes))]
        for k, name in enumerate(r.classes):
            cells = found.setdefault(name, [NOTHING] * len(runs))
            if r.support[k] or predicted[k]:
                cells[number] = Bar(f"{100 * r.f1[k]:.0f} %", r.f1[k])
    for name, cells in found.items():
        values = [cell.share for cell in cells if isinstance(cell, Bar)]
        spread[name] = max(values, default=0.0) - min(values, default=0.0)
    wanted = [runs[0].report.classes[k] for k in order] or list(found)
    if len(wanted) > Table.open_rows:
        wanted.sort(key=lambda name: -spread[name])
    return Table(("class", *names), [(name, *found[name]) for name in wanted])
