"""Small real clips, a benchmark run on them in this process, and what it left."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from stillmotion.cli import main
from stillmotion.data.entries import Listing, read_listing
from stillmotion.eval.report import Predictions, read_predictions
from tests.videos import write_video

Json = dict[str, Any]
CLASSES = {"JumpUp": 3, "run": 4, "sit_down": 3, "walk": 4}
"""Training clips of each class; two more of each are tested."""
SMALL = ("--num-frames", "2", "--device", "cpu", "--no-report")


def write_clips(folder: Path) -> Path:
    """Folders train/CLASS and val/CLASS of clips of 9 to 14 frames, no two alike."""
    for part, more in (("train", 0), ("val", 2)):
        for c, (label, count) in enumerate(CLASSES.items()):
            for i in range(more or count):
                seed = 100 * (part == "val") + 10 * c + i
                path = folder / part / label / f"{label}_{part}{i}.mp4"
                write_video(path, 9 + i + c, size=(72, 48), seed=seed, direction=2 * (c % 2) - 1)
    return folder


def bench(*words: object) -> None:
    """Run the command."""
    main(["bench", *map(str, words), *SMALL])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the command says in one line when it refuses."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        bench(*words)
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and "Traceback" not in said, said
    return said


def table(out: Path) -> Json:
    """The table of a folder."""
    content: Json = json.loads((out / "table.json").read_text(encoding="utf-8"))
    return content


def timeless(out: Path) -> Json:
    """The same without seconds and memory."""
    content = table(out)
    for row in content["rows"]:
        del row["seconds"], row["peak_memory_mb"]
    return content


def cell(out: Path, name: str) -> tuple[Json, Json, Predictions]:
    """A cell's row, configuration and predictions."""
    folder = out / "cells" / name
    read = (json.loads((folder / file).read_text(encoding="utf-8")) for file in ("cell.json", "config.json"))
    return (*read, read_predictions(folder / "predictions.jsonl"))


def right(predictions: Predictions) -> list[bool]:
    """Whether each video's most probable class is its own, counted from the lines."""
    rows = zip(predictions.probabilities.tolist(), predictions.labels.tolist())
    return [max(range(len(p)), key=p.__getitem__) == label for p, label in rows]


def check_row(row: Json, predictions: Predictions) -> None:
    """A row's numbers are those of its predictions."""
    hits, labels = right(predictions), predictions.labels.tolist()
    assert row["top1"] == pytest.approx(sum(hits) / len(hits))
    of_class = [[hit for hit, y in zip(hits, labels) if y == k] for k in sorted(set(labels))]
    assert row["mean_class"] == pytest.approx(math.fsum(sum(h) / len(h) for h in of_class) / len(of_class))
    assert row["videos"] == len(hits) and row["skipped"] == 0
    ranked = predictions.probabilities.argsort(dim=1, descending=True)[:, :5]
    assert row["top5"] == pytest.approx((ranked == predictions.labels[:, None]).any(dim=1).double().mean().item())
    low, high = row["interval"]
    assert 0 <= low <= row["top1"] <= high <= 1 and low < high


def split(out: Path, name: str) -> Listing:
    """The clips of a cell, as the benchmark wrote them."""
    return read_listing(out / "splits" / f"{name}.jsonl")


def names(listing: Listing, part: str) -> set[str]:
    """Names of the files in a split."""
    return {Path(e.path).name for e in listing.entries if e.split == part}


def save_rows(path: Path, rows: torch.Tensor) -> Path:
    """Class embeddings as a `.npy` file."""
    import numpy as np

    np.save(path, rows.numpy())
    return path
