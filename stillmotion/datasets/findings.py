"""What an audit finds, and how it is told."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.data.entries import Listing
from stillmotion.datasets.looking import Seen

HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Pair:
    """Two clips, of one content (`distance` 0 and `exact`) or nearly so (part of bits apart), and their splits."""

    first: str
    second: str
    exact: bool
    distance: float
    splits: tuple[str | None, str | None]
    labels: tuple[str, str]

    @property
    def leaks(self) -> bool:
        """Whether one is trained on and the other tested on."""
        return "train" in self.splits and any(split in HELD_OUT for split in self.splits)


@dataclass(frozen=True)
class Against:
    """What a data set shares with another manifest: class names (as words), sources, and clips by split here and there.

    official: the same by the other's official splits, whose number stands behind the split: `test 2`.
    """

    manifest: str
    classes: tuple[str, ...]
    sources: int
    clips: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """What an audit found; `problems` counts it, in words, and is empty where nothing is wrong."""

    dataset: str
    listing: Listing = field(repr=False)
    seen: tuple[Seen, ...] = field(repr=False)
    pairs: tuple[Pair, ...] = field(repr=False)
    sources: dict[str, tuple[str, ...]] = field(repr=False)
    """Sources that are trained on and tested on, with the splits they are in."""
    official: dict[str, int] = field(repr=False)
    """Training clips that another official split tests on, by its number: score on this split alone."""
    misplaced: tuple[str, ...] = field(repr=False)
    """Clips that are tested on and lie in a folder named train."""
    copy: tuple[str, ...]
    """Which copy of Kinetics this is, as far as sizes and counts say."""
    against: tuple[Against, ...]

    @property
    def problems(self) -> dict[str, int]:
        """How many of each fault there are, the worst first."""
        faults = Counter(seen.fault for seen in self.seen if seen.fault)
        found = {fault: faults[fault] for fault in ("missing", "empty", "unreadable", "cut short")}
        leaks = [pair for pair in self.pairs if pair.leaks]
        found["exact copies in training and test"] = sum(pair.exact for pair in leaks)
        found["near copies in training and test"] = sum(not pair.exact for pair in leaks)
        found["sources in training and test"] = len(self.sources)
        found["exact copies within a split"] = sum(pair.exact and not pair.leaks for pair in self.pairs)
        found["near copies within a split"] = sum(not pair.exact and not pair.leaks for pair in self.pairs)
        found["copies with different labels"] = sum(p.exact and len(set(p.labels)) > 1 for p in self.pairs)
        found["test clips in a folder named train"] = len(self.misplaced)
        found["classes without a clip in a split"] = sum(
            not n for counts in self.classes().values() for split, n in counts.items() if split != "clips"
        )
        for other in self.against:
            leaked = sum(
                n for key, n in other.clips.items() if key.startswith(HELD_OUT) and key.endswith("in train there")
            )
            found[f"test clips that {Path(other.manifest).name} trains on"] = leaked
        return {name: count for name, count in found.items() if count}

    def classes(self) -> dict[str, dict[str, int]]:
        """Clips of each class in each split."""
        splits = [s for s in ("train", *HELD_OUT, None) if any(e.split == s for e in self.listing.entries)]
        counts = Counter((e.label, e.split) for e in self.listing.entries)
        return {k: {s or "clips": counts[k, s] for s in splits} for k in self.listing.header.classes}

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        good = [s for s in self.seen if s.frames]
        return {
            "dataset": self.dataset,
            "clips": len(self.seen),
            "problems": self.problems,
            "faults": [{"path": s.path, "fault": s.fault, "why": s.why} for s in self.seen if s.fault],
            "pairs": [asdict(pair) | {"leaks": pair.leaks} for pair in self.pairs],
            "sources": self.sources,
            "official": self.official,
            "misplaced": self.misplaced,
            "classes": self.classes(),
            "fps": _counts(f"{s.fps:.4g}" for s in good),
            "sizes": _counts(f"{s.width}x{s.height}" for s in good),
            "seconds": _counts(length(s) for s in good),
            "copy": self.copy,
            "against": [asdict(one) for one in self.against],
        }


def length(seen: Seen) -> str:
    """A clip's length in words, in steps that a table can hold."""
    seconds = seen.frames / seen.fps if seen.fps else 0.0
    if not seconds:
        return "unknown"
    edges = (0.5, 1, 2, 3, 5, 8, 9.5, 10.5, 15, 30, 60, 300)
    high = next((edge for edge in edges if seconds < edge), None)
    low = max((edge for edge in edges if edge <= seconds), default=0)
    return f"{low:g} s and more" if high is None else f"{low:g} to {high:g} s"


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
