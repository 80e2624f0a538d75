"""From scores to numbers: top-1, top-5, mean class accuracy, confusion, per-class F1."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from stillmotion.errors import DataError
from stillmotion.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Probabilities (N, K) of the N videos that could be read, their labels (N,) and places in the data set (N,)."""

    indices: Tensor
    labels: Tensor
    probabilities: Tensor
    bad: list[Any] = field(default_factory=list)
    total: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
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
    top5: float
    mean_class: float
    """Mean of the accuracies of the classes that occur."""
    f1: tuple[float, ...]
    """F1 of every class."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true classes, columns predicted ones."""
    seconds: float

    @classmethod
    def of(cls, scores: Scores, classes: tuple[str, ...]) -> "Report":
        """Compute the numbers."""
        K = len(classes)
        p, y = scores.probabilities, scores.labels
        confusion = multiclass_confusion_matrix(p, y, num_classes=K)
        support = confusion.sum(dim=1)
        per_class = confusion.diagonal()[support > 0] / support[support > 0]
        top = (multiclass_accuracy(p, y, K, average="micro", top_k=min(k, K)).item() for k in (1, 5))
        f1 = multiclass_f1_score(p, y, num_classes=K, average="none")
        return cls(
            classes=classes,
            videos=scores.total,
            scored=len(y),
            bad=tuple({"path": b.path, "reason": b.reason} for b in scores.bad),
            top1=next(top),
            top5=next(top),
            mean_class=per_class.mean().item(),
            f1=tuple(f1.tolist()),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            seconds=scores.seconds,
        )

    def __str__(self) -> str:
        skipped = f", {len(self.bad)} of {self.videos} videos could not be read" if self.bad else ""
        return (
            f"top-1 {100 * self.top1:.1f} %, top-5 {100 * self.top5:.1f} %, mean class {100 * self.mean_class:.1f} % "
            f"on {self.scored} videos{skipped}"
        )


def write_predictions(path: Path, scores: Scores, paths: Sequence[Path], classes: Sequence[str]) -> None:
    """Write one JSON line per scored video: path, label, probabilities.

    The first line also has what is the same for all: the class names and the videos that could not be read.
    """
    rows = zip(scores.indices.tolist(), scores.labels.tolist(), scores.probabilities.tolist())
    shared = {"classes": list(classes), "bad": [{"path": b.path, "reason": b.reason} for b in scores.bad]}
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for index, label, p in rows:
            line = {"index": index, "path": str(paths[index]), "label": label, "probabilities": p}
            file.write(json.dumps(line | shared) + "\n")
            shared = {}


def read_predictions(path: Path) -> Scores:
    """Read scores back from `write_predictions`.

    Raises:
        DataError: no such file, or a damaged one.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return Scores(
            indices=torch.tensor([line["index"] for line in lines]),
            labels=torch.tensor([line["label"] for line in lines]),
            probabilities=torch.tensor([line["probabilities"] for line in lines]),
            total=len(lines),
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read predictions from {path} ({error}); evaluate again") from error


def within_pairs(scores: Scores, classes: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> float:
    """Accuracy when each video is judged only between its class and that class's partner; chance is 0.5.

    Args:
        pairs: class names that partner each other, such as actions and their time-reversed selves.
    """
    partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    number = {name: i for i, name in enumerate(classes)}
    right = [
        float(p[label] > p[number[partner[classes[label]]]])
        for p, label in zip(scores.probabilities, scores.labels.tolist())
        if classes[label] in partner
    ]
    return float(torch.tensor(right).mean()) if right else float("nan")
