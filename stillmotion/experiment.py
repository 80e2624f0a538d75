"""From a recipe to a checkpoint: read the data, load the backbone, encode or stream, train, evaluate, save."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from stillmotion.backbones.load import absolute, load_backbone
from stillmotion.backbones.weights import TOWERS, Tower, Weights, load_into
from stillmotion.checkpoint import Card, fingerprints, read_card, save_model
from stillmotion.data.bad import BadVideos
from stillmotion.data.manifest import Manifest
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError
from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Report, Scores, read_predictions, write_predictions
from stillmotion.files import Digests, sha256, short_digest, write_json
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.progress import say
from stillmotion.recipes.base import HERE, Place, Recipe, declared, plain
from stillmotion.source import FeatureSource, PixelSource, Source, feature_folder, preprocess_of
from stillmotion.start import start_from
from stillmotion.train.accelerator import make_accelerator
from stillmotion.train.batches import BatchPlan
from stillmotion.train.learner import Learner
from stillmotion.train.loop import Trainer
from stillmotion.train.objective import make_objective
from stillmotion.train.run_folder import RunFolder
from stillmotion.train.tuning import explain, rules

Names = tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a run gives: the checkpoint, the numbers on the validation clips, and the scores behind them."""

    folder: RunFolder
    report: Report
    scores: Scores
    trained_parameters: int


def fit(recipe: Recipe[Any], data: Data, place: Place = HERE, name: str = "run", keep: bool = False) -> Result:
    """Train one model and evaluate it on the validation clips.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there.

    Args:
        place: where the run takes place, and from what.
        name: of the run's folder, where `place.out` does not say.
        keep: read the result of a finished run of the same configuration instead of refusing to train it again.
    """
    if not recipe.method.tune():
        raise StillmotionError("nothing of this method trains; use it with `stillmotion eval` or `predict`")
    path = place.out or Path("runs") / name
    accelerator = make_accelerator(recipe.train, path)
    weights = backbone_weights(recipe, place.start_from)
    digests = Digests(feature_folder(place.cache) if recipe.method.frozen else None)
    train, val = load_data(data, recipe.train.seed, digests)
    with accelerator.main_process_first():
        own = identity(recipe, weights, (train, val), place.start_from, digests)
        config, defaults = configuration(recipe, data, place), configuration(*map(declared, (recipe, data, place)))
        folder = RunFolder(path, config | own, place.overwrite, keep, defaults | own)
    with contextlib.closing(folder):
        if folder.finished:
            return read_result(folder)
        bad, names = BadVideos(folder.bad_videos, len(train) + len(val), data.max_bad), data.names(train.classes)
        learner = make_learner(recipe, weights, train, names, place, accelerator)
        model: Any = learner.model
        source: Source
        if recipe.method.frozen:
            source = FeatureSource(recipe, weights, (train, val), place.cache, accelerator, bad, digests)
            source.fill()
            model.visual = nn.Identity()  # batches are its outputs; its memory is free for them
        else:
            source = PixelSource(recipe, weights, train, val)
        scores = learn(learner, source, folder, bad, train.classes)
        report = Report.of(scores, train.classes)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if accelerator.is_main_process:
            # What `read_result` reads.
            write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], val.classes)
            more = {"trained_parameters": trained, "seconds": folder.training_seconds()}
            write_json(folder.path / "results.json", asdict(report) | more)
            save_model(folder.model, model.state_dict(), card(recipe, weights, model, names, report, config))
            folder.finish()
        accelerator.wait_for_everyone()
    if bad.found:
        say(bad.summary())
    return Result(folder, report, scores, trained)


def configuration(recipe: Recipe[Any], data: Data, place: Place) -> dict[str, Any]:
    """What a run's folder says of it, JSON-ready."""
    return {"recipe": recipe.to_dict(), "data": plain(data), "place": plain(place)}


def learn(learner: Learner, source: Source, folder: RunFolder, bad: BadVideos, classes: Names) -> Scores:
    """Train from where the folder says to the end, and score the validation clips."""

    def numbers(scores: Scores) -> dict[str, float]:
        report = Report.of(scores, classes)
        return {"top1": report.top1, "top5": report.top5, "mean_class": report.mean_class}

    trainer = Trainer(learner, source.train, folder, bad, lambda: numbers(evaluate(learner, source.val, quiet=True)))
    trainer.run()
    scores = evaluate(learner, source.val)
    trainer.log(learner.plan.total_steps, epoch=learner.config.epochs, **numbers(scores))
    for video in scores.bad:
        bad.add(video)
    return scores


def fill_cache(recipes: Sequence[Recipe[Any]], data: Data, place: Place = HERE, name: str = "run") -> BadVideos:
    """Compute what several recipes on one frozen backbone read, in one pass; returns the videos that cannot be read.
    Raises `StillmotionError`: a method that trains the backbone, or anything else that the user can mend.
    """
    first = recipes[0]
    if not all(recipe.method.frozen for recipe in recipes):
        raise StillmotionError(f"{name} trains CLIP itself, so it has no features to keep; use evl or linear_probe")
    digests = Digests(feature_folder(place.cache))
    train, val = load_data(data, first.train.seed, digests)
    folder = place.out or Path("runs") / name
    bad = BadVideos(folder / "bad_videos.jsonl", len(train) + len(val), data.max_bad)
    reads = reduce(or_, (recipe.method.reads() for recipe in recipes))
    weights, accelerator = backbone_weights(first, place.start_from), make_accelerator(first.train)
    FeatureSource(first, weights, (train, val), place.cache, accelerator, bad, digests, reads).fill()
    return bad


def make_learner(
    recipe: Recipe[Any], weights: Weights, clips: Manifest, names: Names, place: Place, accelerator: Accelerator
) -> Learner:
    """Build a run's model and what trains it; `names` are the classes as prompts write them."""
    train, method = recipe.train, recipe.method
    objective = make_objective(method.objective, len(clips.classes), train, accelerator.num_processes)
    model = build(recipe, weights, clips.classes, names, place)
    if method.frozen and not getattr(model.visual, "plain", False):
        raise StillmotionError(
            f"{type(method).__name__} changes the image tower and says that it is frozen; outputs in the cache are "
            "those of the tower as it came: let `frozen` be False"
        )
    trained = rules(model, method.tune())
    if place.explain:
        for part in explain(model, trained, method.new_parameters(), train.lr, train.weight_decay, train.decay):
            how = f"lr {part.lr:.3g}, weight decay {part.weight_decay:g}" if part.lr else "frozen"
            say(f"{part.name:28} {part.parameters:>12,} parameters in {part.tensors:>3} tensors: {how}")
    tokens = model.prompt(names) if method.needs_text else None
    if tokens is not None and not any(name.startswith("text.") for name in trained):
        with torch.no_grad():  # encoded once, where the text tower does not train
            tokens = model.eval().encode_text(tokens)
    rank, world = accelerator.process_index, accelerator.num_processes
    plan = BatchPlan(len(clips), train.batch_size, train.micro_batch, train.epochs, train.seed, rank, world)
    return Learner(model, method.tune(), objective, train, plan, accelerator, tokens)


def read_result(folder: RunFolder) -> Result:
    """Read what a finished run gave. Raises `StillmotionError`: a file of it is missing or damaged."""
    file, scores = folder.path / "results.json", read_predictions(folder.path / "predictions.jsonl")
    try:
        trained = int(json.loads(file.read_text(encoding="utf-8"))["trained_parameters"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StillmotionError(f"cannot read {file} ({error!r}); pass --overwrite to train again") from error
    return Result(folder, Report.of(scores, scores.classes), scores, trained)


def identity(
    recipe: Recipe[Any], weights: Weights, parts: tuple[Manifest, Manifest], start: Path | None, digests: Digests
) -> dict[str, Any]:
    """What a run goes on only with, beside its configuration, by content and not by place: it may lie elsewhere.

    A clip is known by what features are known by, or by its file's size where no features are kept.
    """

    def content(path: Path) -> str | int:
        try:
            return digests.digest(path) if recipe.method.frozen else path.stat().st_size
        except OSError:
            return 0  # is counted as a bad video where it is decoded

    towers: tuple[Tower, ...] = TOWERS if recipe.method.needs_text else TOWERS[:1]
    found: dict[str, Any] = {"start": sha256(start)} if start else {}
    clips = [[(c.path.name, part.classes[c.label], content(c.path)) for c in part.clips] for part in parts]
    found |= {"clips": short_digest(clips), "classes": short_digest(parts[0].classes)}
    return found | {"backbone": [weights.fingerprint(t)[:16] for t in towers]}


def backbone_weights(recipe: Recipe[Any], start: Path | None = None) -> Weights:
    """Load the weights of a run's backbone, those inside a trained file `start` where one is given.
    Raises `StillmotionError`: the method reads class names and the weights have no text tower, or its frames make no
    whole number of steps of time.
    """
    if start is not None:
        read_card(start)
    base = None if start is None or recipe.backbone == "auto" else recipe.backbone
    weights = load_backbone(recipe.backbone if start is None else str(start), image_size=recipe.image_size, base=base)
    if recipe.method.needs_text and weights.backbone.text is None:
        raise StillmotionError(
            f"{weights.name} holds an image tower only, this method compares videos with class names; pass --backbone "
            "with weights that have a text tower (a local CLIP file, or ViT-B-16:openai)"
        )
    weights.backbone.steps(recipe.method.num_frames)  # refuses what makes no whole number of them
    return weights


def build(
    recipe: Recipe[Any], weights: Weights, classes: Names, names: Names | None = None, place: Place = HERE
) -> VideoCLIP:
    """Build a run's model: new parts from the seed, what `place.start_from` shares from there, the rest as it came.

    `names` are the classes as prompts write them; None: as they are.
    """
    torch.manual_seed(recipe.train.seed)
    model: VideoCLIP = recipe.method.build(weights.backbone, names or classes)
    load_into(model, weights.state, new=recipe.method.new_parameters(), source=weights.name)
    recipe.method.init_from_backbone(model)
    if place.start_from is not None:
        start_from(model, place.start_from, recipe.method, classes)
    return model


def evaluate(learner: Learner, dataset: Any, quiet: bool = False) -> Scores:
    """Score a learner's model on a data set; class names are encoded once."""
    model: Any = learner.model.eval()
    text: Tensor | None = learner.tokens
    with torch.inference_mode():
        if text is not None and not text.is_floating_point():
            text = model.encode_text(text)
    return score(model, dataset, learner.accelerator, text, workers=learner.config.workers, quiet=quiet)


def card(
    recipe: Recipe[Any], weights: Weights, model: VideoCLIP, names: Names, report: Report, config: dict[str, Any]
) -> Card:
    """Describe a trained model."""
    return Card(
        method=recipe.method,
        classes=report.classes,
        names=names,
        backbone=weights.backbone,
        backbone_name=absolute(weights.name),
        fingerprints=fingerprints(model, weights, recipe.method.new_parameters()),
        preprocess=preprocess_of(recipe, weights),
        sampling=recipe.sampling,
        training={"run": config, "top1": report.top1, "mean_class": report.mean_class, "videos": report.scored},
    )
