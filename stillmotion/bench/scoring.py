"""Score a model, trained or as it came, on the clips of a cell, within the names of that cell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stillmotion.assemble import build, class_embeddings
from stillmotion.classifier import Classifier, load
from stillmotion.data.bad import BadVideos
from stillmotion.data.manifest import Manifest
from stillmotion.data.source import Data
from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Scores
from stillmotion.recipes.base import Place, Recipe
from stillmotion.source import Caches, FeatureSource
from stillmotion.training.accelerator import make_accelerator


def score_cell(
    recipe: Recipe[Any], model: Path | None, clips: Manifest, data: Data, place: Place, caches: Caches
) -> Scores:
    """Class probabilities of clips by a trained file, or by the recipe's backbone as it came (None), each clip once.
    Raises `DataError`: too many videos that cannot be read; `StillmotionError`: a head for other classes.

    Frozen towers read the feature cache, which is filled first with what it lacks.
    """
    weights = caches.weights(recipe, place.start_from, data.text_features)
    accelerator = make_accelerator(recipe.train)
    names = data.names(clips.classes)
    if model is None:
        classifier = _untrained(recipe, clips.classes, names, data, place, caches)
    elif data.text_features is not None:
        classifier = load(model, device=accelerator.device, classes=clips.classes, text_features=data.text_features)
    else:
        classifier = load(model, device=accelerator.device)
        if classifier.classes != clips.classes:
            classifier.vocabulary = classifier.encode(clips.classes, names)
    assert place.out is not None
    bad = BadVideos(place.out / "bad_videos.jsonl", len(clips), data.max_bad)
    dataset: Any = classifier.dataset(clips)
    if recipe.cached:
        nothing = replace(clips, clips=())
        source = FeatureSource(recipe, weights, (nothing, clips), caches, accelerator, bad)
        source.fill(recipe.method.reads())
        dataset = source.val
    with torch.inference_mode():
        scores = score(classifier.model, dataset, accelerator, classifier.text, workers=recipe.train.workers)
    for video in scores.bad:
        bad.add(video)
    return scores


def _untrained(
    recipe: Recipe[Any], classes: Sequence[str], names: Sequence[str], data: Data, place: Place, caches: Caches
) -> Classifier:
    weights = caches.weights(recipe, place.start_from, data.text_features)
    text = class_embeddings(data, tuple(classes), weights, recipe.method)
    model = build(recipe, weights, tuple(classes), tuple(names), place)
    return Classifier(
        model,
        preprocess=recipe.preprocess(weights.backbone.pixels),
        sampling=recipe.sampling,
        num_frames=recipe.method.num_frames,
        classes=classes,
        names=names,
        text=text,
        device=recipe.train.device,
    )
