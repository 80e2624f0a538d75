"""What a finished run left in its folder, read back: everything on a page comes from here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stillmotion.errors import DataError, StillmotionError, reason
from stillmotion.eval.multi_label import report_of
from stillmotion.eval.report import Predictions, Report, read_predictions
from stillmotion.progress import say

Json = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """The files of one kind of run: its predictions, its numbers, where it comes from, and its page."""

    predictions: str
    numbers: str
    origin: str
    page: str


TRAINED = Kind("predictions.jsonl", "results.json", "origin.json", "report.html")
EVALUATED = Kind("eval_predictions.jsonl", "eval.json", "eval_origin.json", "eval_report.html")
KINDS = (TRAINED, EVALUATED)


@dataclass(frozen=True)
class Run:
    """One finished training or evaluation; what a folder lacks is empty here.

    numbers: results.json or eval.json; config: of the training; origin: command, versions, machine; auto: a search
    for the best recipe (auto.json); metrics: lines of the training.
    """

    folder: Path
    kind: Kind
    predictions: Predictions
    name: str = ""
    numbers: Json = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    origin: Json = field(default_factory=dict)
    auto: Json = field(default_factory=dict)
    metrics: Sequence[Json] = ()

    @cached_property
    def report(self) -> Report:
        """The numbers, from the predictions."""
        return report_of(self.predictions, self.predictions.classes)

    @property
    def page(self) -> Path:
        """Where its page lies."""
        return self.folder / self.kind.page

    @property
    def method(self) -> str:
        """Name of the trained method; empty for a model that was only evaluated."""
        return str(self.config.get("recipe", {}).get("method", {}).get("name", ""))

    @property
    def model(self) -> Path | None:
        """The trained file whose predictions these are, where it is still there."""
        path = Path(str(self.numbers.get("config", {}).get("model", ""))) if self.kind is EVALUATED else None
        path = path or self.folder / "model.safetensors"
        return path if path.is_file() and path.suffix == ".safetensors" else None

    @property
    def seed(self) -> int | None:
        """The seed of the training, where it is known."""
        seed = self.config.get("recipe", {}).get("train", {}).get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def chosen_epoch(self) -> int | None:
        """The epoch whose weights were kept because they did best on these very videos; None where nothing chose."""
        kept = self.config.get("recipe", {}).get("train", {}).get("keep") == "best" and self.kind is TRAINED
        epoch = self.numbers.get("epoch") if kept else None
        return epoch if isinstance(epoch, int) else None

    @property
    def seconds(self) -> float:
        """Seconds in optimizer steps."""
        return sum(line.get("seconds") or 0.0 for line in self.metrics)


def read_runs(path: Path, several: bool = False) -> list[Run]:
    """The runs in a folder (a training, an evaluation, or both), or the one whose predictions file this is.

    `several`: also those of videos with several labels, which nothing compares.
    Raises `StillmotionError`: there is no finished run, or a file of it is damaged.
    """
    if path.is_dir():
        found = [kind for kind in KINDS if (path / kind.predictions).is_file()]
        folder = path
    else:
        found, folder = [kind for kind in KINDS if path.is_file() and path.name == kind.predictions], path.parent
    if not found:
        inside = sorted(p.parent for p in path.glob(f"*/{TRAINED.predictions}")) if path.is_dir() else []
        more = f"; there are runs inside, the first: {inside[0]}" if inside else ""
        raise DataError(
            f"{path} holds no finished run; name a folder of stillmotion train or eval, or its "
            f"{' or '.join(kind.predictions for kind in KINDS)}{more}"
        )
    return [_read(folder, kind, several) for kind in found]


def read_run(path: Path, several: bool = False) -> Run:
    """The one run of a folder; of a training and an evaluation the training, and that is said.
    Raises `StillmotionError`: as `read_runs`.
    """
    runs = read_runs(path, several)
    if len(runs) > 1:
        first, other = (str(run.folder / run.kind.predictions) for run in runs)
        say(f"{path} holds a training and an evaluation: {first} is taken; name {other} for the evaluation")
    return runs[0]


def _read(folder: Path, kind: Kind, several: bool) -> Run:
    return Run(
        folder=folder,
        kind=kind,
        predictions=read_predictions(folder / kind.predictions, several),
        name=folder.resolve().name,
        numbers=read_json(folder / kind.numbers),
        config=read_json(folder / "config.json"),
        origin=read_json(folder / kind.origin),
        auto=read_json(folder / "auto.json") if kind is TRAINED else {},
        metrics=_lines(folder / "metrics.jsonl") if kind is TRAINED else (),
    )


def read_json(path: Path) -> Json:
    """The content of a file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise StillmotionError(f"cannot read {path} ({reason(error)}); remove it, or make the run again") from error
    if not isinstance(content, dict):
        raise StillmotionError(f"{path} holds no JSON object; remove it, or make the run again")
    return content


def _lines(path: Path) -> list[Json]:
    """The lines of a metrics file, whose numbers are finite or missing; a damaged line is an error."""
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            found.append(dict(json.loads(line).items()))
        except (ValueError, AttributeError, RecursionError) as error:
            raise StillmotionError(f"{path} is damaged in line {number}; remove that line") from error
    return found


def flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested dictionaries by dotted names; lists are values."""
    for name, inner in content.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}", inner
