"""Several trained models as one file: the average of their class probabilities."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from safetensors.torch import load_file

from stillmotion.checkpoint import read_card, save_model
from stillmotion.eval.report import Report, mean_scores, write_predictions
from stillmotion.experiment import Job, Result, configuration, read_result
from stillmotion.files import write_json
from stillmotion.methods import Average
from stillmotion.origin import write_origin
from stillmotion.recipes.base import Recipe
from stillmotion.training.accelerator import make_accelerator
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
    accelerator = make_accelerator(job.recipe.train)
    config = configuration(job.recipe, job.data, job.place)
    with accelerator.main_process_first():
        folder = RunFolder(job.place.out, config, job.place.overwrite, keep=True)
    with contextlib.closing(folder):
        if folder.finished:
            return read_result(folder)
        if accelerator.is_main_process:
            _write(job, parts, folder, config)
        accelerator.wait_for_everyone()
        return read_result(folder)


def _write(job: Job, parts: Sequence[Result], folder: RunFolder, config: dict[str, Any]) -> None:
    (train, val), scores, state = job.clips, mean_scores([part.scores for part in parts]), {}
    cards, report = [read_card(part.folder.model) for part in parts], Report.of(scores, train.classes)
    for i, part in enumerate(parts):
        for name, tensor in load_file(part.folder.model).items():
            room, _, rest = name.partition(".")
            state[f"{room}.parts.{i}.{rest}"] = tensor
    training = {"run": config, "parts": [card.training for card in cards], "top1": report.top1}
    write_origin(folder.path / "origin.json")
    write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], val.classes)
    folder.write_clips(train, val)
    save_model(folder.model, state, replace(cards[0], method=job.recipe.method, training=training))
    more = {"trained_parameters": sum(part.trained_parameters for part in parts)}
    write_json(folder.results, report.to_dict() | more | {"seconds": sum(part.seconds for part in parts)})
