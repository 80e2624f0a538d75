"""The main job on the embedded data set: render, encode once, train three heads from the cache, compare, report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.actors.render import PAIRS, ActorsSpec, render_actors
from stillmotion.attention import attention_map
from stillmotion.classifier import Classifier, load
from stillmotion.data.source import Data
from stillmotion.errors import at_least
from stillmotion.eval.report import within_pairs
from stillmotion.experiment import Result, fill_cache, fit
from stillmotion.files import write_json
from stillmotion.progress import say
from stillmotion.recipes.base import Place, Recipe
from stillmotion.recipes.evl import evl
from stillmotion.recipes.linear_probe import linear_probe
from stillmotion.report.figures import attention_figure, confusion_figure, curves_figure
from stillmotion.report.page import HEADER, Example, Page, Row, write_page

FULL = "EVL, all temporal modules"
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
    ablation: bool = False
    """Train EVL with each temporal module alone, too."""
    seed: int = 0
    """Of the data set and of training."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's cache folder."""

    def __post_init__(self) -> None:
        at_least(1, self, "epochs", "train_actors", "test_actors")


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
    compared, data, results = recipes(options), Data(data=videos), dict[str, Result]()
    fill_cache([*compared.values()], data, Place(out=options.out, cache=options.cache))
    for name, recipe in compared.items():
        say(f"training: {name}")
        place = Place(out=options.out / folder_name(name), cache=options.cache)
        results[name] = fit(recipe, data, place, name, keep=True)
    rows = [row(name, result) for name, result in results.items()]
    best = results[FULL]
    command = f"stillmotion predict {best.folder.model.as_posix()} my_video.mp4"
    page = Page(
        title="Ten actions, five time-reversed pairs",
        summary=f"Frozen CLIP ViT-B/16, {count} rendered clips, actors and rooms of the test clips never seen in "
        f"training, {options.epochs} epochs for every model, trained from features that were computed once.",
        rows=rows,
        confusion=confusion_figure(best.report.confusion, best.report.classes),
        confusion_of="EVL with all temporal modules",
        curves=curves_figure({name: r.folder.read_metrics() for name, r in results.items()}),
        examples=examples(load(best.folder.model, backbone=options.backbone), videos),
        command=command,
    )
    write_page(options.out / "report.html", page)
    seconds = time.perf_counter() - started
    write_json(options.out / "results.json", {"rows": [vars(r) for r in rows], "seconds": seconds})
    return rows


def recipes(options: Demo) -> Mapping[str, Recipe[Any]]:
    """What to compare."""
    budget: dict[str, Any] = {"epochs": options.epochs, "seed": options.seed, "eval_every": 2}

    def within(recipe: Recipe[Any]) -> Recipe[Any]:
        return replace(recipe, backbone=options.backbone, train=replace(recipe.train, **budget))

    full = within(evl())
    method = replace(full.method, init="motion")  # the direction of time is all that tells partners apart
    alone = {f"EVL, {module.replace('_', ' ')} alone": {module: True} for module in NO_MOTION if options.ablation}
    return {
        FULL: replace(full, method=method),
        "EVL, no temporal module": replace(full, method=replace(method, **NO_MOTION)),
        "linear probe on mean-pooled frames": within(linear_probe()),
    } | {name: replace(full, method=replace(method, **NO_MOTION | one)) for name, one in alone.items()}


def folder_name(name: str) -> str:
    """A file name for a run."""
    return name.lower().replace(",", "").replace("'", "").replace(" ", "_")


def row(name: str, result: Result) -> Row:
    """One line of the comparison."""
    pairs = within_pairs(result.scores, result.report.classes, PAIRS)
    return Row(name, result.report.top1, pairs, result.trained_parameters, result.folder.training_seconds())


def examples(classifier: Classifier, videos: Path, count: int = 6) -> list[Example]:
    """Look at test clips of one pair after the other."""
    found = []
    for number, action in enumerate([name for pair in PAIRS for name in pair][:count]):
        paths = sorted((videos / "test" / action).glob("*.mp4"))
        path = paths[number % len(paths)]
        prediction = classifier(path)
        figure = attention_figure(attention_map(classifier, path))
        found.append(Example(f"{action}/{path.name}", action, prediction.top(3), figure))
    return found


def table(rows: list[Row]) -> list[tuple[str, ...]]:
    """The comparison as text, header first."""
    return [HEADER, *(r.cells() for r in rows)]
