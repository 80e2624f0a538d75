"""Several trained models as one file: the average of their class probabilities."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from safetensors.torch import load_file

from stillmotion.checkpoint import read_card, save_model
from stillmotion.eval.report import Report, write_predictions
from stillmotion.experiment import Job, Result, configuration, read_result
from stillmotion.files import write_json
from stillmotion.methods import Average
from stillmotion.progress import is_main_process
from stillmotion.recipes.base import Recipe
from stillmotion.training.run_folder import RunFolder


def averaged(recipes: Sequence[Recipe[Any]]) -> Recipe[Any]:
    """The recipe of the average of these, whose other fields are those of the first."""
    methods = tuple(recipe.method for recipe in recipes)
    return replace(recipes[0], method=Average(num_frames=methods[0].num_frames, parts=methods))


def average(job: Job, parts: Sequence[Result]) -> Result:
    """Put trained models together in the folder of a job, whose recipe is that of their average.
    Raises `StillmotionError`: another run is in the folder.

    Their scores are averaged as the model in the file averages them.
    """
    assert job.place.out is not None
    config = configuration(job.recipe, job.data, job.place)
    folder = RunFolder(job.place.out, config, job.place.overwrite, keep=True)
    try:
        if folder.finished:
            return read_result(folder)
        (train, val), found = job.clips, [part.scores for part in parts]
        scores = replace(found[0], probabilities=torch.stack([s.probabilities for s in found]).mean(dim=0))
        report, trained = Report.of(scores, train.classes), sum(part.trained_parameters for part in parts)
        if is_main_process():
            cards = [read_card(part.folder.model) for part in parts]
            state = {}
            for i, part in enumerate(parts):
                for name, tensor in load_file(part.folder.model).items():
                    room, _, rest = name.partition(".")
                    state[f"{room}.parts.{i}.{rest}"] = tensor
            training = {"run": config, "parts": [card.training for card in cards], "top1": report.top1}
            card = replace(cards[0], method=job.recipe.method, training=training)
            write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], val.classes)
            save_model(folder.model, state, card)
            seconds = sum(part.seconds for part in parts)
            write_json(folder.results, asdict(report) | {"trained_parameters": trained, "seconds": seconds})
    finally:
        folder.close()
    return Result(folder, report, scores, trained)
