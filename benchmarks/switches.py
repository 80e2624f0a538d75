"""What each switch of a benchmark does to one model's number on one data set; written into docs/protocols.md.

    python benchmarks/switches.py --data weizmann --backbone ViT-B-16:openai-int8
    python benchmarks/switches.py --quick

The same method, seed and clips every time; one switch at a time, against a run with none. Moved: test clips whose most
probable class is another one.
"""

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from sections import ROOT, machine, markdown, write_section
from tiny import write_clip, write_tower

from stillmotion.cli import main as stillmotion
from stillmotion.eval.report import read_predictions

PAGE = ROOT / "docs" / "protocols.md"
SWITCHES = (
    "--statistics imagenet", "--statistics bgr", "--resize bilinear", "--short-side SIDE", "--views 3", "--crops 3",
    "--views 4 --crops 3", "--views 4 --crops 3 --average logits", "--flip 0.5 --cached-views 4", "--drop-last 2",
    "--preset release", "--preset strict",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What is scored."""

    data: Path = Path("weizmann")
    """Labeled clips, as for `stillmotion bench`."""
    backbone: str = "ViT-B-16:openai-int8"
    """An image tower, or with a method that reads class names one with a text tower."""
    method: str = "linear_probe"
    """A recipe."""
    group: str | None = None
    """Regular expression whose first group names a clip's source."""
    short_side: int = 256
    """Of the switch of that name."""
    out: Path = Path("runs/switches")
    """Folder of the tables."""
    quick: bool = False
    """Generated clips and a tiny tower; the table is only printed."""


def score(options: Options, number: int, switch: str) -> tuple[float, dict[str, int]]:
    """Top-1 with a switch, and the class that each clip is called."""
    out = options.out / f"{number:02}"
    words = ["bench", "supervised", options.method, "--data", str(options.data), "--backbone", options.backbone]
    words += ["--out", str(out), "--cache", str(options.out / "cache"), "--no-report"]
    words += [] if options.group is None else ["--group", options.group]
    words += ["--epochs", "2", "--num-frames", "2"] if options.quick else []
    with contextlib.redirect_stdout(io.StringIO()):
        stillmotion([*words, *switch.split()])
    predictions = read_predictions(out / "cells" / f"{options.method}_seed-0" / "predictions.jsonl")
    called = predictions.probabilities.argmax(dim=1).tolist()
    (row,) = json.loads((out / "table.json").read_text(encoding="utf-8"))["rows"]
    return row["top1"], {str(Path(path).resolve()): k for path, k in zip(predictions.paths, called)}


def run(options: Options) -> str:
    """Every switch against none, as a table."""
    base, called = score(options, 0, "")
    rows = [["none", f"{100 * base:.1f} %", "", "", str(len(called))]]
    for number, switch in enumerate(SWITCHES, start=1):
        words = switch.replace("SIDE", str(options.short_side))
        top1, now = score(options, number, words)
        moved = sum(now[name] != called[name] for name in now)
        rows.append([f"`{words}`", f"{100 * top1:.1f} %", f"{100 * (top1 - base):+.1f}", str(moved), str(len(now))])
    return markdown(["switch", "top-1", "points", "moved", "clips"], rows)


def main(options: Options) -> None:
    """Run, and write the table."""
    if not options.quick:
        what = f"`{options.method}` on {options.data.name}, {options.backbone}; {machine()}."
        write_section(PAGE, "switches", f"{what}\n\n{run(options)}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(8):
            write_clip(folder / "clips" / "ab"[number % 2] / f"{number}.mp4", 12, seed=number)
        tower = str(write_tower(folder / "tower.safetensors"))
        print(
            run(replace(options, data=folder / "clips", backbone=tower, out=folder / "out", short_side=40, quick=True))
        )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
