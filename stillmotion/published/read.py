"""Published numbers, read from the CSV files of this folder: facts from papers, and what is wrong in them.

Each row is one number: what was measured (method, backbone, setting, data, metric), what else decides it (split, clips
of each class, other data trained on before, variant, frames, views), where it is printed, and how far to trust it.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from stillmotion.errors import StillmotionError, did_you_mean

SETTINGS = ("supervised", "zero-shot", "base-to-novel", "few-shot", "cost")
ACCURACIES = ("top-1", "top-5", "base", "novel", "HM", "mAP")
"""Metrics in percent; HM is the harmonic mean of base and novel."""
COSTS = {
    "parameters": "M",
    "new parameters": "M",
    "memory": "GB",
    "training": "GPU hours",
    "latency": "ms",
    "throughput": "videos/s",
}
"""The other metrics, and their units as far as the source states them."""
STATUSES = {
    "": "as printed there",
    "conflict": "another source prints another number for the same thing",
    "re-run": "measured again, by others or for a release: not the number of the paper",
    "erratum": "the source is wrong by its own arithmetic, or by the table that it quotes",
    "unverified": "from memory: nobody has looked it up",
}
CLASSES = {
    "Kinetics-400": 400,
    "Kinetics-600": 600,
    "Kinetics-700": 700,
    "HMDB-51": 51,
    "UCF-101": 101,
    "SSv2": 174,
    "ActivityNet": 200,
    "Charades": 157,
}
"""The data sets, and how many classes each has."""
_ALIASES = {f"k{n}": f"kinetics{n}" for n in (400, 600, 700)}
_ALIASES |= {"hmdb": "hmdb51", "ucf": "ucf101", "somethingsomethingv2": "ssv2", "sthv2": "ssv2"}
_ALIASES |= {"zeroshot": "vanillaclip", "vitb32": "clipb32", "vitb16": "clipb16", "vitl14": "clipl14"}
_ALIASES |= {"vitl14336": "clipl14336", "b32": "clipb32", "b16": "clipb16", "l14": "clipl14", "l14336": "clipl14336"}


@dataclass(frozen=True, kw_only=True)
class Number:
    """One published number; an empty text and None mean that the source does not say."""

    method: str
    backbone: str
    setting: str
    """One of `SETTINGS`."""
    dataset: str
    """Empty where a cost has none."""
    split: str
    shots: int | None
    """Training clips of each class; 0: none were trained on."""
    pretrained: str
    """Videos that it was trained on before this data set (of zero-shot numbers: at all)."""
    variant: str
    frames: int | None
    """Frames of a view."""
    views: str
    """Views of a video, of time and of space: 3, 4x3."""
    metric: str
    value: float
    """In percent for `ACCURACIES`, else in the units of `COSTS`."""
    spread: float | None
    """Standard deviation over splits, draws or seeds, in points."""
    gflops: float | None
    """As printed; papers count a multiply and an add as one."""
    gflops_per: str
    """What they are for: a view, or a video with all its views."""
    source: str
    status: str
    """One of `STATUSES`."""
    note: str

    @property
    def total_views(self) -> int | None:
        """Views of time times views of space."""
        return prod(map(int, self.views.split("x"))) if self.views else None

    @property
    def gflops_per_video(self) -> float | None:
        """The printed GFLOPs times the views; None where the source does not say both."""
        if self.gflops is None or self.gflops_per == "video":
            return self.gflops
        return None if self.total_views is None else round(self.gflops * self.total_views, 3)

    def to_dict(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return asdict(self)


FIELDS = tuple(f.name for f in fields(Number))
_KINDS = {"shots": int, "frames": int, "value": float, "spread": float, "gflops": float}


@cache
def published() -> tuple[Number, ...]:
    """All numbers, file by file."""
    return tuple(row for file in sorted(Path(__file__).parent.glob("*.csv")) for row in read_numbers(file))


def read_numbers(file: Path) -> list[Number]:
    """The numbers of one CSV file with the columns `FIELDS`. Raises `StillmotionError`: it is not one."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            if tuple(reader.fieldnames or ()) != FIELDS:
                raise ValueError(f"its columns are {reader.fieldnames}")
            return [Number(**{name: _value(name, row[name]) for name in FIELDS}) for row in reader]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise StillmotionError(f"cannot read published numbers from {file} ({error!r:.150}); install again") from error


def _value(name: str, text: str) -> Any:
    kind = _KINDS.get(name)
    return text if kind is None else kind(text) if text else None


def select(rows: Iterable[Number], **wanted: str | int | None) -> list[Number]:
    """The rows whose fields are the wanted ones; None wants nothing of a field.
    Raises `StillmotionError`: a name that no row has, or no row has all of them.

    Names count without case and punctuation, and by their short forms: `UCF101`, `k400`, `b16`, `xclip`. A wanted
    number of clips, frames or views is one that the source states.
    """
    found = list(rows)
    asked = {name: value for name, value in wanted.items() if value is not None}
    for name, value in asked.items():
        known = dict.fromkeys(str(getattr(row, name)) for row in found if getattr(row, name) not in ("", None))
        found = [row for row in found if _plain(getattr(row, name)) == _plain(value)]
        if not found:
            others = "" if len(asked) == 1 else f" with {_and(asked, name)}"
            raise StillmotionError(f"no published number has {name} {value!r}{others}{did_you_mean(str(value), known)}")
    return found


def _and(asked: dict[str, Any], last: str) -> str:
    before = list(asked)[: list(asked).index(last)]
    return " and ".join(f"{name} {asked[name]!r}" for name in before) or "those options"


def _plain(text: object) -> str:
    """A name as names are compared."""
    plain = re.sub(r"[^0-9a-z+]", "", str(text).lower())
    return _ALIASES.get(plain, plain)


def dataset_of(text: str) -> str | None:
    """The data set whose name is in a text, such as the path of a folder; None: there is not exactly one."""
    parts = [_plain(part) for part in re.split(r"[/\\]", text)]
    found = {name for name in CLASSES for part in parts if part.startswith(_plain(name)) or part == _plain(name)}
    return found.pop() if len(found) == 1 else None


def varying(rows: Sequence[Number], names: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Of these fields those that differ between rows, and those that are the same in all, with what is in them."""
    same = {name: getattr(rows[0], name) for name in names if len({getattr(row, name) for row in rows}) == 1}
    return [name for name in names if name not in same], {k: v for k, v in same.items() if v not in ("", None)}
