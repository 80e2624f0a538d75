"""The main job on the embedded data set: render, encode once, let `auto` choose a head, compare, report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.actors.render import PAIRS, ActorsSpec, render_actors
from stillmotion.auto import Auto, auto
from stillmotion.classifier import load
from stillmotion.data.source import Data
from stillmotion.errors import at_least
from stillmotion.eval.intervals import Interval, wilson
from stillmotion.eval.report import Predictions, within_pairs
from stillmotion.experiment import Result, fit
from stillmotion.files import write_json
from stillmotion.origin import origin
from stillmotion.progress import duration, say
from stillmotion.recipes.base import Place, Recipe
from stillmotion.recipes.evl import evl
from stillmotion.recipes.linear_probe import linear_probe
from stillmotion.report.choice import choice as choice_of
from stillmotion.report.compare_page import classes_side_by_side, difference, difference_table
from stillmotion.report.examples import example, mistakes, with_frames
from stillmotion.report.figures import COLORS, DASHES, curves_figures
from stillmotion.report.page import Table, accuracy, confusion, facts, write_page
from stillmotion.report.runs import read_run

HEADER = ("model", "top-1", "within reversed pairs", "trained parameters", "training")
MISTAKES = 4
"""Shown on the page, before one clip of every pair that was called right."""

FULL = "EVL, all temporal modules"
BASELINE = "linear probe on mean-pooled frames"
NO_MOTION: dict[str, Any] = {"conv": False, "positions": False, "cross_attention": False}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train and compare on the embedded data set."""

    out: Path = Path("runs/demo")
    """Folder for everything."""
    backbone: str = "auto"
    """CLIP weights: the int8 image tower from the package index or, where it cannot be had, the hub's."""
    epochs: int = 10
    """Passes over the training clips, the same for every model."""
    train_actors: int = 12
    """Training clips of each class, one an actor."""
    test_actors: int = 6
    """Test clips of each class, one an actor."""
    folds: int = 2
    """Folds of the training clips that `auto` compares candidates on; two, so that all of it takes few minutes."""
    ablation: bool = False
    """Train EVL with all temporal modules, with none and with each alone, too."""
    seed: int = 0
    """Of the data set and of training."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's cache folder."""

    def __post_init__(self) -> None:
        at_least(1, self, "epochs", "train_actors", "test_actors")


@dataclass(frozen=True)
class Row:
    """One line of the comparison; accuracies and their 95 % intervals are in [0, 1]."""

    name: str
    top1: float
    pairs: float
    """Accuracy between a class and its time-reversed partner; chance is 0.5."""
    parameters: int
    seconds: float
    top1_interval: Interval | None = None
    pairs_interval: Interval | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        share = (f"{100 * self.top1:.1f} %", f"{100 * self.pairs:.1f} %")
        return (self.name, *share, f"{self.parameters:,}", f"{self.seconds:.0f} s")


def demo(options: Demo) -> list[Row]:
    """Run the main job; every part that is already done is kept, so a stopped run goes on where it was.

    Returns:
        The rows of the comparison.
    """
    started = time.perf_counter()
    spec = ActorsSpec(train_actors=options.train_actors, test_actors=options.test_actors, seed=options.seed)
    count = len(spec.actions) * (spec.train_actors + spec.test_actors)
    videos = options.out / f"videos-{spec.train_actors}x{spec.test_actors}-seed{spec.seed}"
    say(f"rendering {count} clips of {len(spec.actions)} actions into {videos}")
    render_actors(videos, spec)
    data, place = Data(data=videos), Place(out=options.out / "auto", cache=options.cache)
    choosing = Auto(folds=options.folds, backbone=options.backbone, epochs=options.epochs, seed=options.seed)
    choice = auto(choosing, data, place)
    results = {f"{choice.winner.name}, chosen by auto": choice.result}
    for name, recipe in recipes(options).items():
        say(f"training: {name}")
        results[name] = fit(recipe, data, replace(place, out=options.out / folder_name(name)), name, keep=True)
    rows = [row(name, result) for name, result in results.items()]
    write_demo_page(options, rows, videos, {name: r.folder.path for name, r in results.items()}, choice.to_dict())
    seconds = time.perf_counter() - started
    numbers = {"rows": [vars(r) for r in rows], "seconds": seconds, "auto": choice.to_dict()}
    write_json(options.out / "results.json", numbers)
    return rows


def recipes(options: Demo) -> Mapping[str, Recipe[Any]]:
    """What to compare the chosen head with."""
    budget: dict[str, Any] = {"epochs": options.epochs, "seed": options.seed, "eval_every": 2}

    def within(recipe: Recipe[Any]) -> Recipe[Any]:
        return replace(recipe, backbone=options.backbone, train=replace(recipe.train, **budget))

    baseline = {BASELINE: within(linear_probe())}
    if not options.ablation:
        return baseline
    full = within(evl())
    method = replace(full.method, init="motion")  # the direction of time is all that tells partners apart
    alone = {f"EVL, {module.replace('_', ' ')} alone": {module: True} for module in NO_MOTION}
    return (
        {
            FULL: replace(full, method=method),
            "EVL, no temporal module": replace(full, method=replace(method, **NO_MOTION)),
        }
        | baseline
        | {name: replace(full, method=replace(method, **NO_MOTION | one)) for name, one in alone.items()}
    )


def folder_name(name: str) -> str:
    """A file name for a run."""
    return name.lower().replace(",", "").replace("'", "").replace(" ", "_")


def row(name: str, result: Result) -> Row:
    """One line of the comparison."""
    report = result.report
    pairs = within_pairs(result.scores, report.classes, PAIRS)
    sure = wilson(round(pairs * report.scored), report.scored)
    return Row(name, report.top1, pairs, result.trained_parameters, result.seconds, report.top1_interval, sure)


def write_demo_page(
    options: Demo, rows: list[Row], videos: Path, folders: Mapping[str, Path], chosen: Mapping[str, Any]
) -> None:
    """Write report.html: how the head was chosen, what the others give, and what the chosen one saw."""
    runs = {name: read_run(folder / "predictions.jsonl") for name, folder in folders.items()}
    full = next(iter(runs))
    best = runs[full]
    report, predictions = best.report, best.predictions
    order = [report.classes.index(action) for pair in PAIRS for action in pair]
    others = [difference(best, run, full, name) for name, run in runs.items() if name != full]
    model = folders[full] / "model.safetensors"
    clips = [example(predictions, place) for place in [*mistakes(predictions)[:MISTAKES], *right(predictions)]]
    flags = f"--folds {options.folds} --epochs {options.epochs} --seed {options.seed}"
    flags += "" if options.backbone == "auto" else f" --backbone {options.backbone}"
    made = origin()
    write_page(
        options.out / "report.html",
        "demo",
        title="Ten actions, five time-reversed pairs",
        options=options,
        count=len(order) * (options.train_actors + options.test_actors),
        rows=rows,
        report=report,
        full=full,
        overview=overview(rows),
        differences=difference_table(others),
        classes=classes_side_by_side(list(runs.values()), list(runs), order),
        confusion=confusion(report.confusion, report.classes, order),
        wrong=report.scored - sum(report.confusion[k][k] for k in order),
        clips=list(with_frames(clips, load(model, backbone=options.backbone))),
        figures=curves_figures({name: run.metrics for name, run in runs.items()}),
        names=list(runs),
        colors=COLORS,
        dashes=DASHES,
        command=made["command"],
        again=f"stillmotion train auto --data {videos.as_posix()} {flags}",
        predict=f"stillmotion predict {model.as_posix()} my_video.mp4",
        facts=facts(made, options.seed),
        **choice_of(chosen),
    )


def overview(rows: list[Row]) -> Table:
    """The comparison for the page, the best model marked."""
    cells = [
        (
            r.name,
            accuracy(r.top1, r.top1_interval),
            accuracy(r.pairs, r.pairs_interval),
            f"{r.parameters:,}",
            duration(r.seconds),
        )
        for r in rows
    ]
    return Table(HEADER, cells, max(range(len(rows)), key=lambda i: (rows[i].top1, -i)))


def right(predictions: Predictions) -> list[int]:
    """Places of one rightly called clip of every pair, the first of the pair's first action that there is."""
    called = predictions.probabilities.argmax(dim=1)
    good = (called == predictions.labels).nonzero().flatten().tolist()
    names = [predictions.classes[int(predictions.labels[place])] for place in good]
    found = [next((good[names.index(name)] for name in pair if name in names), None) for pair in PAIRS]
    return [place for place in found if place is not None]


def table(rows: list[Row]) -> list[tuple[str, ...]]:
    """The comparison as text, header first."""
    return [HEADER, *(r.cells() for r in rows)]
