"""Held-out clips, scored by the model that trains: as they are, and with their frames in other orders."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillmotion.assemble import Names, tower_of
from stillmotion.backbones.weights import Weights
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.manifest import Manifest
from stillmotion.eval.evaluate import score_orders
from stillmotion.eval.multi_label import headline, report_of
from stillmotion.eval.order import FULL
from stillmotion.eval.report import Scores
from stillmotion.models.order import ORDERS, orders
from stillmotion.recipes.base import Recipe
from stillmotion.training.learner import Learner


def numbers(scores: Scores, classes: Names) -> dict[str, float]:
    """What the metrics say of an evaluation."""
    return headline(report_of(scores, classes))


def evaluate(learner: Learner, dataset: Any, quiet: bool = False) -> Scores:
    """Score a learner's model on a data set."""
    return evaluate_orders(learner, dataset, (FULL,), quiet)[FULL]


def evaluate_orders(learner: Learner, dataset: Any, wanted: Sequence[str], quiet: bool = False) -> dict[str, Scores]:
    """Score a learner's model on a data set in several orders of its frames; class names are encoded once."""
    learner.settle()
    model: Any = learner.model.eval()
    text: Tensor | None = learner.tokens
    with torch.inference_mode():
        if text is not None and not text.is_floating_point():
            text = model.encode_text(text)
    workers = learner.config.workers
    return score_orders(model, dataset, wanted, learner.accelerator, text, workers=workers, quiet=quiet)


def evaluate_in_all_orders(
    learner: Learner, dataset: Any, recipe: Recipe[Any], weights: Weights, clips: Manifest, seen: Scores | None
) -> tuple[Scores, dict[str, Scores]]:
    """Score a learner's model on clips as they are, unless these scores were `seen`, and in other orders by name.

    `dataset` holds the clips as the learner reads them: of a frozen backbone that does not see every frame alone it has
    outputs of one order, so that the videos themselves are read.
    """
    model, T = learner.model, recipe.method.num_frames
    before = model.visual
    if recipe.cached and not weights.backbone.frames_alone:
        dataset = VideoDataset(clips, T, recipe.sampling, recipe.preprocess(weights.backbone.pixels))
        model.visual = tower_of(recipe, weights).to(learner.accelerator.device)
    wanted = ORDERS if seen is not None else (FULL, *ORDERS)
    found = evaluate_orders(learner, dataset.in_orders(orders(T)), wanted)
    model.visual = before
    return (found.pop(FULL) if seen is None else seen), found
