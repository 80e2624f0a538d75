"""Few clips of each class on Weizmann with the real ViT-B/16: `stillmotion bench few-shot`, into docs/results.md.

    python benchmarks/few_shot.py --data weizmann
    python benchmarks/few_shot.py --quick

Seed s draws K clips of each class from six actors and tests on the clips of the other three: fold s of three, so that
the three seeds together test every clip once. `auto` needs two clips of a class, one to train on and one to choose by.
Stopped at any time, it goes on where it was, cell by cell.
"""

import contextlib
import io
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from nine_actors import read_clips, write_clips
from sections import RESULTS, machine, markdown, write_section
from tiny import write_tower

from stillmotion.cli import main as stillmotion
from stillmotion.data.entries import Entry, Header, Listing

METHODS = ("linear_probe", "attentive_probe", "step", "evl", "auto")


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action, and clips named ACTOR_ACTION.avi."""
    out: Path = Path("runs/few_shot")
    """Folder of the tables."""
    shots: tuple[int, ...] = (1, 2, 4)
    """Training clips of each class."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each with its fold of actors."""
    backbone: str = "auto"
    """The pretrained model."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""
    collect: bool = False
    """Train nothing; write the table of the seeds that are done."""
    quick: bool = False
    """One seed of two actions with a tiny CLIP and two methods; the table is only printed."""


def manifest(folder: Path, data: Path, fold: int) -> Path:
    """Write a fold as a manifest whose test split has the clips of three actors."""
    clips, actors = read_clips(data)
    held, labels = actors[3 * fold : 3 * fold + 3], tuple(sorted({clip.parent.name for clip in clips}))
    entries = []
    for clip in clips:
        actor = clip.stem.split("_")[0]
        path = clip.relative_to(data).as_posix()
        entries.append(Entry(path, clip.parent.name, "test" if actor in held else "train", source=actor))
    path = folder / f"fold{fold}.jsonl"
    Listing(Header("Weizmann", classes=labels, prompts=labels), tuple(entries), data.resolve()).write(path)
    return path


def fill(options: Options, seed: int, *more: str) -> None:
    """Fill the table of a seed."""
    clips = manifest(options.out, options.data, seed % 3)
    methods = METHODS[:2] if options.quick else METHODS
    words = ["bench", "few-shot", *methods, "--data", str(clips), "--out", str(options.out / f"seed{seed}"), *more]
    words += ["--shots", *map(str, options.shots), "--seeds", str(seed), "--backbone", options.backbone]
    words += ["--device", "cpu", *(() if options.cache is None else ("--cache", str(options.cache)))]
    with contextlib.redirect_stdout(io.StringIO()):
        stillmotion(words)


def table(options: Options) -> str:
    """Mean top-1 over the seeds that are done, and its standard deviation."""
    found: dict[tuple[str, int], list[float | None]] = {}
    for seed in options.seeds:
        file = options.out / f"seed{seed}" / "table.json"
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else ():
            found.setdefault((row["method"], row["cell"]["shots"]), []).append(row["top1"])

    def mean(values: list[Any]) -> str:
        if not values or None in values:
            return "cannot" if values else ""
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.3f}{spread}"

    methods = dict.fromkeys(name for name, _ in found)
    rows = [[name, *(mean(found.get((name, k), [])) for k in options.shots)] for name in methods]
    return markdown(["method", *(f"K = {k}" for k in options.shots)], rows)


def main(options: Options) -> None:
    """Fill the tables, seed by seed, and write the one of their means."""
    if options.quick:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tower = str(write_tower(folder / "tower.safetensors"))
            made = {"data": write_clips(folder / "clips"), "out": folder / "runs", "cache": folder / "cache"}
            small = replace(options, backbone=tower, seeds=(0,), shots=(1, 2), **made)
            fill(small, 0, "--epochs", "1", "--warmup", "0", "--no-report")
            print(table(small))
        return
    for seed in () if options.collect else options.seeds:
        print(f"seed {seed}", file=sys.stderr, flush=True)
        fill(options, seed)
    done = sum((options.out / f"seed{seed}" / "table.json").is_file() for seed in options.seeds)
    text = f"Top-1 on three actors never seen in training, mean and deviation over {done} seeds; {machine()}."
    write_section(RESULTS, "few shot", f"{text}\n\n{table(options)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
