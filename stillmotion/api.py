"""Training and evaluation as calls: the options of the command line, by the same names."""

import copy
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args, get_origin, get_type_hints

import typeguard

from stillmotion import experiment
from stillmotion.auto import Auto, auto
from stillmotion.classifier import Classifier, load
from stillmotion.data.bad import BadVideos
from stillmotion.data.many import Pace
from stillmotion.data.multi_label import as_scored
from stillmotion.data.sampling import Average
from stillmotion.data.source import Data, load_test_data
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.eval.evaluate import OneProcess, score_orders
from stillmotion.eval.multi_label import report_of
from stillmotion.eval.order import FULL
from stillmotion.eval.report import Report
from stillmotion.experiment import Result
from stillmotion.methods import name_of
from stillmotion.models.order import ORDERS, orders
from stillmotion.recipes import find
from stillmotion.recipes.base import HERE, Recipe, values_of
from stillmotion.training.loop import Callback

T = TypeVar("T")


def train(recipe: str | Recipe[Any], *, data: str | Path, callback: Callback | None = None, **options: Any) -> Result:
    """Train a model as `stillmotion train RECIPE --data DATA` does, and evaluate it on the validation clips.
    Raises `StillmotionError`: an option that the recipe does not have, a value that it cannot have, or whatever else
    can be mended; `KeyboardInterrupt`: the run was stopped and saved, and the same call goes on from there.

    Args:
        recipe: a name that the command line takes (`auto` gives the run of the winner), or a `Recipe`.
        data: a folder with one folder per class, or a list file.
        callback: called with every line of the metrics: `{"step": 3, "loss": 0.7, ...}` behind each step, and
            `{"step": 8, "epoch": 1, "top1": 0.6, ...}` behind each evaluation.
        options: those of the command line with `_` for `-`: `epochs=10`, `lr=2e-4`, `init="motion"`,
            `backbone="ViT-B-16.pt"`, `val="held_out.txt"`, `out="runs/mine"`. Paths may be text.

    Returns:
        The run: `report` has the numbers, `folder.model` is the file for `load`.
    """
    found: Any = recipe if not isinstance(recipe, str) else Auto() if recipe == "auto" else find(recipe)
    name = recipe.replace(":", ".") if isinstance(recipe, str) else name_of(found.method)
    if not isinstance(data, str | os.PathLike):
        raise StillmotionError(f"data is a {type(data).__name__}; pass the path of a folder or a list file")
    videos = Data(data=Path(data))
    known = {*values_of(found), *values_of(videos), *values_of(HERE)} - {"data", "published"}
    for key in options:
        if key not in known:
            raise StillmotionError(f"{name} has no option {key!r}{did_you_mean(key, known)}")
    settings, videos, place = _replaced(found, options), _replaced(videos, options), _replaced(HERE, options)
    if isinstance(settings, Auto):
        return auto(settings, videos, place, callback).result
    return experiment.fit(settings, videos, place, name, callback=callback)


class PaceOptions(TypedDict, total=False):
    """How fast `evaluate` goes through videos: views in a forward pass (8), and processes that read."""

    batch: int
    workers: int | None


def evaluate(
    model: str | Path | Classifier,
    *,
    data: str | Path,
    root: str | Path | None = None,
    views: int | None = None,
    crops: Literal[1, 3] | None = None,
    average: Average | None = None,
    max_bad: float = 0.01,
    order_test: bool = False,
    **pace: Unpack[PaceOptions],
) -> Report:
    """Score a model on labeled videos, each exactly once, as `stillmotion eval` does.
    Raises `DataError`: unknown labels, or too many videos that cannot be read; `StillmotionError`: scores that are not
    finite.

    Args:
        model: a `Classifier`, or the path of a trained `model.safetensors`.
        data: a folder with one folder per class (or a val or test folder of those), or a list file.
        root: folder that relative paths in a list file start from; None: the list file's own.
        views, crops: temporal views and spatial crops, averaged; None: as the model was trained to be tested.
        average: what of the views is averaged, `softmax` or `logits`; None: as the model was trained to be tested.
        max_bad: part of the videos that may be unreadable, in [0, 1].
        order_test: score each also with its frames shuffled, reversed and frozen to the middle one: `Report.order`.
        pace: `batch` and `workers`, as `Classifier.predict`.
    """
    speed = _pace(**pace)
    classifier = copy.copy(model) if isinstance(model, Classifier) else load(model)
    source = Data(data=Path(data), root=None if root is None else Path(root), max_bad=max_bad)
    if not classifier.classes:  # a model that reads any names: those of the data
        classifier = classifier.with_classes(load_test_data(source, None).classes)
    manifest = as_scored(load_test_data(source, classifier.classes), classifier.multi_label)
    clips = classifier.dataset(manifest, views, crops, average).in_orders(orders(classifier.num_frames))
    wanted = (FULL, *ORDERS) if order_test else (FULL,)
    bad, here = BadVideos(None, len(manifest), max_bad), OneProcess(classifier.device)
    found = score_orders(classifier.model, clips, wanted, here, classifier.text, *speed)
    full = found.pop(FULL)
    for video in full.bad:
        bad.add(video)
    return report_of(full, classifier.classes, found)


def _pace(*, batch: int = 8, workers: int | None = None) -> tuple[int, int | None]:
    Pace(batch, workers or 0)  # refuses what cannot be
    return batch, workers


def _replaced(config: T, options: Mapping[str, Any]) -> T:
    """The same dataclass with its own among the options, at any depth."""
    hints, changed = get_type_hints(type(config)), dict[str, Any]()
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if is_dataclass(value):
            changed[field.name] = _replaced(value, options)
        elif field.name in options:
            changed[field.name] = _checked(field.name, options[field.name], hints[field.name])
    return replace(config, **changed)  # type: ignore[type-var]


def _checked(name: str, value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, str) and Path in (hint, *get_args(hint)):
        value = Path(value)
    try:
        typeguard.check_type(value, hint, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)
    except typeguard.TypeCheckError as error:
        raise StillmotionError(f"{name} is {value!r}; it must be {_words(hint)}") from error
    return value


def _words(hint: Any) -> str:
    """A type as people say it."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if hint is type(None):
        return "None"
    if get_args(hint) and get_origin(hint) is not tuple:
        return " or ".join(map(_words, get_args(hint)))
    return getattr(hint, "__name__", str(hint)) if not get_args(hint) else f"a sequence of {_words(get_args(hint)[0])}"
