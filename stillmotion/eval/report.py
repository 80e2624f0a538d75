"""From scores to numbers: top-1 with its interval, top-5, mean class accuracy, confusion, numbers of every class."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.data.bad import BadVideo
from stillmotion.errors import DataError, StillmotionError, reason
from stillmotion.eval.intervals import wilson
from stillmotion.eval.order import FULL, OrderTest
from stillmotion.files import atomic_write


@dataclass(frozen=True, kw_only=True, repr=False)
class Scores:
    """Probabilities (N, K) of the N videos that could be read, their labels (N,) and places in the data set (N,)."""

    indices: Tensor
    labels: Tensor
    probabilities: Tensor
    targets: Tensor | None = None
    """Where videos have several labels: (N, K), 1 where one has the label; `labels` are then the first of each."""
    bad: tuple[BadVideo, ...] = ()
    """Videos that were to be scored and could not be read."""
    total: int = 0
    seconds: float = 0.0

    def __repr__(self) -> str:
        (N, K), of = self.probabilities.shape, f" of {self.total}" if self.total else ""
        return f"<{type(self).__name__}: {N}{of} videos, {K} classes>"


@dataclass(frozen=True, kw_only=True, repr=False)
class Predictions(Scores):
    """One model's scores as a file holds them: float64, with the paths of the N videos and the names of the classes."""

    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """Numbers of one evaluation; accuracies are in [0, 1] over the videos that could be read."""

    classes: tuple[str, ...]
    videos: int
    """Videos in the data set."""
    scored: int
    """Videos that were scored, each exactly once."""
    bad: tuple[dict[str, str], ...]
    """Videos that could not be read, and why."""
    top1: float
    top1_interval: tuple[float, float]
    """95 % interval of top-1 by Wilson's score, as if videos were independent."""
    top5: float
    """Always 1 where there are five classes or fewer; no text or page shows it there."""
    mean_class: float
    """Mean of the accuracies of the classes that occur."""
    support: tuple[int, ...]
    """Scored videos of every class."""
    precision: tuple[float, ...]
    """Of the videos that were called so, the part that is; 0 for a class that was never predicted."""
    recall: tuple[float, ...]
    """Of the videos of every class, the part that was found; 0 for a class without videos."""
    f1: tuple[float, ...]
    """Harmonic mean of precision and recall of every class; 0 for one that neither occurs nor was predicted."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true classes, columns predicted ones."""
    seconds: float
    order: OrderTest | None = None
    """The same with frames in other orders, where it was asked for."""

    @classmethod
    def of(cls, scores: Scores, classes: tuple[str, ...], orders: Mapping[str, Scores] | None = None) -> "Report":
        """Compute the numbers; `orders` are scores of the same videos with their frames in other orders, by name."""
        p, y, K = scores.probabilities, scores.labels, len(classes)
        counts = torch.bincount(y * K + p.argmax(dim=1), minlength=K * K).view(K, K)
        support, predicted, right = counts.sum(dim=1), counts.sum(dim=0), counts.diagonal().double()
        in_five = (p.topk(min(5, K)).indices == y[:, None]).any(dim=1)
        precision, recall = (right / n.clamp(min=1) for n in (predicted, support))
        hits = int(right.sum())
        return cls(
            classes=classes,
            videos=scores.total,
            scored=len(y),
            bad=tuple({"path": b.path, "reason": b.reason} for b in scores.bad),
            top1=hits / len(y),
            top1_interval=wilson(hits, len(y)),
            top5=int(in_five.sum()) / len(y),
            mean_class=recall[support > 0].mean().item(),
            support=tuple(support.tolist()),
            precision=tuple(precision.tolist()),
            recall=tuple(recall.tolist()),
            f1=tuple((2 * right / (support + predicted).clamp(min=1)).tolist()),
            confusion=tuple(tuple(row) for row in counts.tolist()),
            seconds=scores.seconds,
            order=_order_test({FULL: scores, **orders}, classes) if orders else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        content = asdict(self)
        del content["order"]
        return content | ({} if self.order is None else {"order": self.order.to_dict()})

    def __repr__(self) -> str:
        bad = f", {len(self.bad)} unreadable" if self.bad else ""
        order = ", order tested" if self.order is not None else ""
        return f"<Report: top-1 {100 * self.top1:.1f} %, {self.scored} videos, {len(self.classes)} classes{bad}{order}>"

    def __str__(self) -> str:
        skipped = f", {len(self.bad)} of {self.videos} videos could not be read" if self.bad else ""
        low, high = (100 * end for end in self.top1_interval)
        five = f", top-5 {100 * self.top5:.1f} %" if self.has_top5 else ""
        return (
            f"top-1 {100 * self.top1:.1f} % (95 % interval {low:.1f} to {high:.1f}){five}, "
            f"mean class {100 * self.mean_class:.1f} % on {self.scored} videos{skipped}"
        )

    @property
    def has_top5(self) -> bool:
        """Whether top-5 says anything: there are more than five classes."""
        return len(self.classes) > 5


def _order_test(found: Mapping[str, Scores], classes: tuple[str, ...]) -> OrderTest:
    """Compare the orders on the videos that were scored in all of them: a file may vanish between two readings."""
    shared = set.intersection(*(set(scores.indices.tolist()) for scores in found.values()))
    if not shared:
        raise DataError("no video could be read in every order of its frames; mend or replace them")
    kept = {
        order: (scores.labels[keep], scores.probabilities[keep].argmax(dim=1))
        for order, scores in found.items()
        for keep in [torch.tensor([index in shared for index in scores.indices.tolist()])]
    }
    return OrderTest.of(kept[FULL][0], {order: called for order, (_, called) in kept.items()}, classes)


def mean_scores(found: Sequence[Scores]) -> Scores:
    """The mean of the probabilities that several models give the same videos; all else is that of the first."""
    return replace(found[0], probabilities=torch.stack([scores.probabilities for scores in found]).mean(dim=0))


def write_predictions(path: Path, scores: Scores, paths: Sequence[Path | str], classes: Sequence[str]) -> None:
    """Write one JSON line per scored video: path, label, probabilities.

    The first line also has what is the same for all: the class names and the videos that could not be read.
    """
    rows = zip(scores.indices.tolist(), scores.labels.tolist(), scores.probabilities.tolist())
    several = None if scores.targets is None else [row.nonzero().flatten().tolist() for row in scores.targets]
    shared: dict[str, Any] = {
        "classes": list(classes),
        "bad": [{"path": b.path, "reason": b.reason} for b in scores.bad],
    }
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for place, (index, label, p) in enumerate(rows):
            line = {"index": index, "path": str(paths[index]), "label": label, "probabilities": p}
            line |= {} if several is None else {"labels": several[place]}
            file.write(json.dumps(line | shared) + "\n")
            shared = {}


def read_predictions(path: Path, several: bool = False) -> Predictions:
    """Read a file of `write_predictions` back; `several` labels a video are refused unless they are welcome.
    Raises `DataError`: no such file, a damaged one, or numbers that are not probabilities.
    """
    try:
        if path.suffix.lower() != ".jsonl":
            raise DataError(f"{path} holds no predictions; name a run's folder, or the .jsonl that train or eval wrote")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines or "classes" not in lines[0]:
            raise DataError(f"{path} names no classes, as older versions wrote it; train or evaluate again")
        bad = tuple(BadVideo(str(b["path"]), str(b["reason"])) for b in lines[0].get("bad", ()))
        found = Predictions(
            name=str(path),
            classes=tuple(map(str, lines[0]["classes"])),
            paths=tuple(str(line["path"]) for line in lines),
            indices=torch.tensor([int(line["index"]) for line in lines]),
            labels=torch.tensor([int(line["label"]) for line in lines]),
            targets=_targets(lines) if "labels" in lines[0] else None,
            probabilities=torch.tensor([line["probabilities"] for line in lines], dtype=torch.float64),
            bad=bad,
            total=len(lines) + len(bad),
        )
    except DataError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"cannot read predictions from {path} ({reason(error)}); evaluate again") from error
    N, K, p = len(found.paths), len(found.classes), found.probabilities
    if p.shape != (N, K) or not bool(((found.labels >= 0) & (found.labels < K)).all()):
        raise DataError(f"{found.name} has {K} classes, its scores or labels another number; evaluate again")
    if found.targets is not None and not several:
        raise DataError(f"{found.name} is of videos with several labels, and this compares one of each; leave it out")
    sums = (p <= 1).all(dim=1) if found.targets is not None else (p.sum(dim=1) - 1).abs() < 1e-3
    good = torch.isfinite(p).all(dim=1) & (p >= 0).all(dim=1) & sums
    if not bool(good.all()):
        where = found.paths[int((~good).nonzero()[0])]
        raise DataError(f"{found.name}: the scores of {where} are no probabilities; they must sum to 1: evaluate again")
    seen: set[Path] = set()
    for video in found.paths:
        if Path(video).absolute() in seen:
            raise DataError(f"{found.name} scores {video} twice; each video may appear once: evaluate again")
        seen.add(Path(video).absolute())
    return found


def _targets(lines: Sequence[dict[str, Any]]) -> Tensor:
    """(N, K) of what lines say of labels."""
    found = torch.zeros(len(lines), len(lines[0]["classes"]))
    for row, line in zip(found, lines):
        row[torch.tensor([int(k) for k in line["labels"]], dtype=torch.int64)] = 1
    return found


def check_finite(logits: Tensor, paths: Sequence[str]) -> None:
    """Refuse logits (B, ...) of the videos at `paths` that are no numbers: they would become probabilities of nothing.
    Raises `StillmotionError`: one of them is NaN or infinite.
    """
    for path, row in zip(paths, logits):
        if not bool(torch.isfinite(row).all()):
            raise StillmotionError(
                f"the scores of {path} are not finite (NaN or infinite): the weights are damaged, or too large for "
                "this precision; load other weights, or run in fp32"
            )


def within_pairs(scores: Scores, classes: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> float:
    """Accuracy when each video is judged only between its class and that class's partner; chance is 0.5.

    `pairs` are class names that partner each other, such as actions and their time-reversed selves.
    """
    partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    number = {name: i for i, name in enumerate(classes)}
    right = [
        float(p[label] > p[number[partner[classes[label]]]])
        for p, label in zip(scores.probabilities, scores.labels.tolist())
        if classes[label] in partner
    ]
    return float(torch.tensor(right).mean()) if right else float("nan")
