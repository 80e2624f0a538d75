"""Folders as finished runs leave them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stillmotion.data.bad import BadVideo
from stillmotion.eval.report import Scores, write_predictions

CLASSES = ("jump", "run", "sit")
AUTO: dict[str, Any] = {
    "candidates": [
        {"name": "probe", "mean": 0.81, "spread": 0.05, "parameters": 1538, "seconds": 3.2, "folds": [0.76, 0.86]},
        {"name": "decoder", "mean": 0.91, "spread": 0.02, "parameters": 1234567, "seconds": 340, "folds": [0.89, 0.93]},
    ],
    "winner": "decoder",
    "held_out": {"top1": 0.9},
    "order": {
        "full": 0.93, "shuffled": 0.91, "reversed": 0.8, "frozen": 0.7,
        "per_class": {
            "jump": {"full": 1.0, "shuffled": 1.0, "reversed": 1.0, "frozen": 0.9},
            "run": {"full": 0.9, "shuffled": 0.5, "reversed": 0.9, "frozen": 0.5},
            "sit": {"full": 0.8, "shuffled": 0.8, "reversed": 0.2, "frozen": 0.5},
        },
    },
}  # fmt: skip


def write_scores(
    folder: Path,
    paths: Sequence[Path | str],
    labels: Sequence[int],
    called: Sequence[int],
    classes: Sequence[str] = CLASSES,
    name: str = "predictions.jsonl",
    bad: Sequence[BadVideo] = (),
) -> None:
    """Write predictions in which video i is called `called[i]`, the later ones with a higher probability."""
    rows = []
    for i, k in enumerate(called):
        best = 0.5 + 0.4 * (i + 1) / len(called)
        rows.append([best if j == k else (1 - best) / (len(classes) - 1) for j in range(len(classes))])
    scores = Scores(
        indices=torch.arange(len(labels)),
        labels=torch.tensor(labels),
        probabilities=torch.tensor(rows),
        bad=tuple(bad),
        total=len(labels) + len(bad),
    )
    write_predictions(folder / name, scores, paths, classes)


def write_run(folder: Path, paths: Sequence[Path | str], labels: Sequence[int], called: Sequence[int]) -> Path:
    """Write what a training leaves, but the model."""
    write_scores(folder, paths, labels, called)
    config = {
        "recipe": {"method": {"name": "some_method", "num_frames": 8, "taps": None}, "train": {"seed": 7, "lr": 0.25}},
        "data": {"data": "my_videos"},
    }
    lines: list[dict[str, Any]] = [
        {"step": step, "loss": 2.0 / (step + 1), "lr": 0.1, "seconds": 0.5} for step in range(6)
    ]
    lines.insert(2, {"step": 2, "epoch": 1, "top1": 0.4})
    lines.append({"step": 6, "epoch": 3, "top1": 0.6})
    origin = {
        "command": "stillmotion train some_method --data 'my videos'",
        "versions": {"stillmotion": "1.2.3", "torch": "9.9", "python": "3.99"},
        "machine": {"cpu": "Abacus <9000>", "cores": 2, "gpus": [], "system": "Linux x86_64"},
        "date": "2026-01-02T03:04:05+00:00",
    }
    for name, content in (
        ("config.json", config), ("origin.json", origin), ("results.json", {"trained_parameters": 4102}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
