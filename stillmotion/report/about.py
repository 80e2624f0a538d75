"""What a page says of how its numbers were made: the method, its backbone, its training, and where all that ran."""

import json
from collections.abc import Mapping
from typing import Any

from stillmotion.checkpoint import Card, read_card
from stillmotion.errors import StillmotionError
from stillmotion.progress import duration, say
from stillmotion.report.page import facts
from stillmotion.report.runs import TRAINED, Run

TRAINING = {"lr": "learning rate", "weight_decay": "weight decay", "batch_size": "batch size", "epochs": "epochs"}
"""Fields of the training that are said, and what they are called."""


def about(run: Run) -> list[tuple[str, str]]:
    """Pairs of a name and a text: folder, method, backbone, training, seed, versions, machine, date, where known."""
    recipe = _recipe(run)
    found = [("folder", str(run.folder))]
    if run.kind is not TRAINED and (model := run.numbers.get("config", {}).get("model")):
        found.append(("model", str(model)))
    if method := recipe.get("method", {}):
        settings = [f"{name} {_named(value)}" for name, value in method.items() if name != "name" and value is not None]
        found += [("method", f"{method['name']} ({', '.join(settings)})" if settings else method["name"])]
        found += [("backbone", _backbone(run, str(recipe.get("backbone", ""))))]
    train = recipe.get("train", {})
    told = [f"{title} {train[name]}" for name, title in TRAINING.items() if name in train]
    found += [("training", ", ".join(told))] if told else []
    if "trained_parameters" in run.numbers:
        found += [("trained", f"{run.numbers['trained_parameters']:,} parameters in {duration(run.seconds)} of steps")]
    return [*found, *facts(run.origin, run.seed)]


def _backbone(run: Run, name: str) -> str:
    """The name of the weights, where `auto` chose them that of what it chose."""
    card = _card(run) if name == "auto" else None
    return name if card is None else card.backbone_name


def _recipe(run: Run) -> Mapping[str, Any]:
    """The recipe that a folder holds, else that of the model that was evaluated; empty where nothing says it."""
    if recipe := run.config.get("recipe"):
        return dict(recipe)
    card = _card(run)
    if card is None:
        return {}
    said, trained = json.loads(card.to_json()), card.training.get("run", {}).get("recipe", {})
    return {"backbone": card.backbone_name, **trained, "method": {"name": said["method"], **said["method_config"]}}


def _card(run: Run) -> Card | None:
    """The card of the model that is at hand."""
    try:
        return read_card(run.model) if run.model is not None else None
    except StillmotionError as error:  # a file that has changed since; the page is of the numbers, which stand
        say(f"the page says less of the model: {error}")
        return None


def _named(value: Any) -> str:
    """A setting in words; the parts of an average by their names."""
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return " + ".join(str(part.get("name")) for part in value)
    return str(value)
