"""The page of an audit: what is wrong, first; then counts, and a few pictures of every class."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillmotion.datasets.findings import Audit, Pair, length
from stillmotion.progress import duration
from stillmotion.report.page import Bar, Cell, Table, write_page

FEW = 20
"""Rows of a table that are open; the others can be opened."""
SIDES = 12
"""Different values of a table that are told apart."""


def write_audit_page(path: Path, audit: Audit) -> None:
    """Write it as one HTML file. Raises `DiskError`: no room, or no right to write."""
    good = [one for one in audit.seen if one.frames]
    seconds = sum(one.frames / one.fps for one in good if one.fps)
    classes = audit.classes()
    pictures: dict[str, list[tuple[str, str]]] = {name: [] for name in classes}
    for entry, one in zip(audit.listing.entries, audit.seen):
        if one.thumb:
            pictures[entry.label].append((one.path, one.thumb))
    faults = [(one.path, one.fault, one.why) for one in audit.seen if one.fault]
    write_page(
        path,
        "audit",
        title=f"Audit of {audit.listing.root.resolve().name if audit.dataset == 'folder' else audit.dataset}",
        clips=len(audit.seen),
        splits=any(entry.split for entry in audit.listing.entries),
        classes=len(classes),
        video_length=duration(seconds),
        problems=Table(("found", "how many"), [(name, f"{n:,}") for name, n in audit.problems.items()]),
        copy=audit.copy,
        faults=Table(("clip", "fault", "why"), faults, open_rows=FEW),
        leaks=_pairs([pair for pair in audit.pairs if pair.leaks]),
        repeats=_pairs([pair for pair in audit.pairs if not pair.leaks]),
        sources=Table(
            ("source", "splits"), [(s, ", ".join(sides)) for s, sides in audit.sources.items()], open_rows=FEW
        ),
        official=audit.official,
        misplaced=audit.misplaced,
        against=[
            (one, Table(("clips", "how many"), [(k, f"{n:,}") for k, n in one.clips.items()])) for one in audit.against
        ],
        counts=_classes(classes),
        spread=[
            (
                "Length",
                _spread([length(one) for one in good], key=lambda text: [*map(float, re.findall(r"[\d.]+", text))]),
            ),
            ("Frames per second", _spread([f"{one.fps:.4g}" for one in good], key=float)),
            (
                "Size",
                _spread([f"{one.width}x{one.height}" for one in good], key=lambda text: [*map(int, text.split("x"))]),
            ),
        ],
        pictures=[(name, shown) for name, shown in pictures.items() if shown],
    )


def _pairs(pairs: Sequence[Pair]) -> Table:
    rows = [
        (
            f"{pair.first} ({pair.labels[0]}, {pair.splits[0] or 'no split'})",
            f"{pair.second} ({pair.labels[1]}, {pair.splits[1] or 'no split'})",
            "same content" if pair.exact else f"{100 * pair.distance:.1f} % of bits differ",
        )
        for pair in sorted(pairs, key=lambda p: (not p.exact, p.distance, p.first))
    ]
    return Table(("clip", "and", "how alike"), rows, open_rows=FEW)


def _classes(classes: dict[str, dict[str, int]]) -> Table:
    """Clips of every class by split, the fewest first where there are many."""
    splits = list(next(iter(classes.values())))
    most = {s: max(1, *(counts[s] for counts in classes.values())) for s in splits}
    names = sorted(classes, key=lambda k: sum(classes[k].values())) if len(classes) > FEW else list(classes)
    rows: list[tuple[Cell, ...]] = [
        (name, *(Bar(f"{classes[name][s]:,}", classes[name][s] / most[s]) for s in splits)) for name in names
    ]
    return Table(("class", *splits), rows, open_rows=FEW)


def _spread(values: Sequence[str], key: Callable[[str], Any]) -> Table:
    """How many clips have each value, the commonest ones, in order of the value."""
    counts = Counter(values).most_common()
    rest = sum(n for _, n in counts[SIDES:])
    shown = [
        *sorted(counts[:SIDES], key=lambda pair: key(pair[0])),
        *([(f"{len(counts) - SIDES} others", rest)] if rest else []),
    ]
    total = max(1, len(values))
    return Table(("", "clips"), [(name, Bar(f"{n:,}", n / total)) for name, n in shown])
