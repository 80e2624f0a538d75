"""What freezing buys (EVL, figure 3), on Weizmann with the real ViT-B/16: accuracy over seconds of training and memory.

    python benchmarks/frozen.py --data weizmann
    python benchmarks/frozen.py --quick

EVL from the cache (whose filling counts), EVL that runs its frozen tower again for every batch, EVL whose tower trains
too, and CLIP's tower with a linear head, trained together. Three folds of actors that are not seen in training; every
run in a process of its own, with a cache of its own, so that time and memory are its own. Validation is not timed. The
last three take about a minute an epoch and more, so they get fewer epochs. Stopped at any time, it goes on where it
was, run by run.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from nine_actors import read_clips, write_clips, write_fold
from sections import RESULTS, machine, markdown, write_section
from tiny import write_tower

from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.files import write_json
from stillmotion.methods import EVL, METHODS, LinearProbe
from stillmotion.recipes.base import Place, Recipe
from stillmotion.recipes.evl import evl
from stillmotion.recipes.linear_probe import linear_probe
from stillmotion.throughput import most_memory
from stillmotion.training.tuning import Tune


class StreamingEVL(EVL):
    """EVL whose frozen tower runs again for every batch, as in the release."""

    frozen = False  # type: ignore[assignment]


class TunedCLIP(LinearProbe):
    """CLIP's image tower, trained with a linear head on the mean of its frames."""

    frozen = False  # type: ignore[assignment]

    def tune(self) -> tuple[Tune, ...]:
        """The head, and the tower at a hundredth of its rate."""
        return (*super().tune(), Tune("visual.*", 0.01))


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action, and clips named ACTOR_ACTION.avi."""
    out: Path = Path("runs/frozen")
    """Folder of the runs."""
    backbone: str = "auto"
    """The pretrained model."""
    epochs: int = 20
    """Of EVL from the cache."""
    few: int = 4
    """Epochs of the others."""
    one: str | None = None
    """FOLD/NAME: this run alone, in this process."""
    collect: bool = False
    """Train nothing; write the table of what is done."""
    quick: bool = False
    """Clips of two actions and a tiny CLIP, one fold; the table is only printed."""


NAMES = {
    "cached": "EVL from the cache",
    "streaming": "EVL, tower run for every batch",
    "tuned": "EVL, tower trained",
    "image": "CLIP's image tower and a linear head, trained",
}


def recipe_of(name: str, options: Options) -> Recipe[Any]:
    """One of the four, without temporal modules: what suits Weizmann, where a frame says most."""
    base = evl()
    plain = {"conv": False, "positions": False, "cross_attention": False}
    if name == "image":
        base = linear_probe()
        method: Any = TunedCLIP(num_frames=base.method.num_frames)
    else:
        kind = StreamingEVL if name == "streaming" else EVL
        method = kind(**plain, backbone_rate=0.01 if name == "tuned" else 0.0)
    epochs = options.epochs if name == "cached" else options.few
    train = replace(base.train, epochs=epochs, eval_every=1, micro_batch=None if name == "cached" else 1, device="cpu")
    return replace(base, method=method, train=train, backbone=options.backbone, runtime="fp32")


def one(options: Options, fold: int, name: str) -> None:
    """Train one, and write accuracy by seconds, and the most memory."""
    METHODS.update(streaming_evl=StreamingEVL, tuned_clip=TunedCLIP)  # of this process alone, which ends with it
    folder = options.out / f"fold{fold}"
    place = Place(out=folder / name, cache=folder / f"{name}_cache", report=False)
    recipe, curve, lost = recipe_of(name, options), list[tuple[float, float]](), 0.0
    started = before = time.perf_counter()

    def tell(line: dict[str, float]) -> None:
        nonlocal before, lost
        now = time.perf_counter()
        if "top1" in line:
            lost += now - before  # the validation
            curve.append((now - started - lost, line["top1"]))
        before = now

    result = fit(recipe, Data(data=folder / "train.txt", val=folder / "val.txt"), place, callback=tell)
    shutil.rmtree(place.out or folder)
    shutil.rmtree(folder / f"{name}_cache", ignore_errors=True)
    write_json(folder / f"{name}.json", {"curve": curve, "peak_mb": most_memory() / 1e6, "top1": result.report.top1})


def run(options: Options, count: int = 3) -> str:
    """All that is not done yet, each in a process of its own; returns the table."""
    clips, actors = read_clips(options.data)
    found: dict[str, list[dict[str, Any]]] = {}
    for fold in range(count):
        write_fold(options.out / f"fold{fold}", clips, actors, fold)
        for name in NAMES:
            done = options.out / f"fold{fold}" / f"{name}.json"
            if not done.is_file() and not options.collect:
                shutil.rmtree(
                    options.out / f"fold{fold}" / name, ignore_errors=True
                )  # a clock that stopped is no clock
                shutil.rmtree(options.out / f"fold{fold}" / f"{name}_cache", ignore_errors=True)
                words = [sys.executable, __file__, "--one", f"{fold}/{name}", "--data", str(options.data)]
                words += ["--out", str(options.out), "--backbone", options.backbone]
                words += ["--epochs", str(options.epochs), "--few", str(options.few)]
                subprocess.run(words, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
            if done.is_file():
                found.setdefault(name, []).append(json.loads(done.read_text(encoding="utf-8")))
    if not options.quick:
        draw(found, RESULTS.parent / "frozen.png")
    return table(found, options)


def table(found: dict[str, list[dict[str, Any]]], options: Options) -> str:
    """Means over the folds."""
    rows = []
    for name, runs in found.items():
        best = statistics.fmean(r["top1"] for r in runs)
        seconds = statistics.fmean(r["curve"][-1][0] if r["curve"] else float("nan") for r in runs)
        epochs = options.epochs if name == "cached" else options.few
        peak = max(r["peak_mb"] for r in runs)
        rows.append(
            [NAMES[name], f"{best:.3f}", str(epochs), f"{seconds:.0f} s", f"{peak / 1000:.1f} GB", str(len(runs))]
        )
    return markdown(
        ["trained on six actors", "top-1 on three others", "epochs", "training", "peak memory", "folds"], rows
    )


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Accuracy over seconds, and the memory beside each name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, runs in found.items():
        length = min(len(r["curve"]) for r in runs)
        points = [[statistics.fmean(r["curve"][i][k] for r in runs) for k in (0, 1)] for i in range(length)]
        memory = max(r["peak_mb"] for r in runs) / 1000
        axes.plot(*zip(*points), marker=".", label=f"{NAMES[name]} ({memory:.1f} GB)")
    axes.set(xscale="log", xlabel="seconds of training, cache included", ylabel="top-1 on other actors", ylim=(0, 1))
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main(options: Options) -> None:
    """Run, and write the table and the figure."""
    if options.one is not None:
        fold, _, name = options.one.partition("/")
        one(options, int(fold), name)
        return
    if options.quick:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            tower = write_tower(place / "tower.safetensors")
            made: dict[str, Any] = {"data": write_clips(place / "clips"), "out": place / "runs", "backbone": str(tower)}
            print(run(replace(options, epochs=1, few=1, **made), count=1))
        return
    write_section(RESULTS, "frozen", f"Means of the folds; {machine()}.\n\n{run(options)}\n\n![](frozen.png)")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
