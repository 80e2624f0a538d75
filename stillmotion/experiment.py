"""From a recipe to a checkpoint: read the data, load CLIP, encode or stream, train, evaluate, save."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from stillmotion.backbones.clip import resolve_taps
from stillmotion.backbones.weights import ClipWeights, cache_folder, load_clip, load_into
from stillmotion.checkpoint import Card, fingerprints, save_model
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.manifest import Manifest
from stillmotion.data.source import Data, load_data
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.eval.evaluate import score
from stillmotion.eval.report import Report, Scores, read_predictions, write_predictions
from stillmotion.features.dataset import CachedTower, FeatureDataset
from stillmotion.features.encode import Encoder, encode, plan, views_of
from stillmotion.features.store import FeatureSpec, open_store
from stillmotion.files import sha256, write_json
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.progress import say
from stillmotion.recipes.base import HERE, Place, Recipe, plain
from stillmotion.start import start_from, starting_clip
from stillmotion.train.accelerator import make_accelerator
from stillmotion.train.loop import Trainer
from stillmotion.train.objective import make_objective
from stillmotion.train.run_folder import RunFolder
from stillmotion.train.tuning import explain, select

Datasets = tuple[VideoDataset, VideoDataset] | tuple[FeatureDataset, FeatureDataset]


@dataclass(frozen=True)
class Result:
    """What a run gives: the checkpoint, the numbers on the validation clips, and the scores behind them."""

    folder: RunFolder
    report: Report
    scores: Scores
    trained_parameters: int


def fit(recipe: Recipe[Any], data: Data, place: Place = HERE, name: str = "run", keep: bool = False) -> Result:
    """Train one model and evaluate it on the validation clips.

    Args:
        recipe, data: what to train and how, and the labeled videos.
        place: where the run takes place, and from what.
        name: of the run's folder, where `place.out` does not say.
        keep: read the result of a finished run of the same configuration instead of refusing to train it again.

    Raises:
        StillmotionError: anything that the user can mend.
        Stopped: a signal asked to stop; the same call goes on from there.
    """
    path = place.out or Path("runs") / name
    accelerator = make_accelerator(recipe.train, path)
    weights = backbone_weights(recipe, place.start_from)
    train, val = load_data(data, recipe.train.seed)
    config = {"recipe": recipe.to_dict(), "data": plain(data), "place": plain(place)}
    with accelerator.main_process_first():
        folder = RunFolder(path, config | identity(weights, train, val, place.start_from), place.overwrite, keep)
    if folder.finished:
        return read_result(folder)
    bad = BadVideos(folder.bad_videos, len(train) + len(val), data.max_bad)
    objective = make_objective(recipe.method.objective, len(train.classes), recipe.train, accelerator.num_processes)
    names = data.names(train.classes)
    model = build(recipe, weights, train.classes, names, place)
    datasets = prepare(recipe, weights, train, val, accelerator, bad, place.cache)
    if isinstance(datasets[0], FeatureDataset):
        model.visual = CachedTower()
    tokens = prompts(recipe, model, names) if recipe.method.needs_text else None

    def numbers(model: VideoCLIP) -> dict[str, float]:
        report = Report.of(evaluate(model, datasets[1], accelerator, tokens, quiet=True), train.classes)
        return {"top1": report.top1, "top5": report.top5, "mean_class": report.mean_class}

    Trainer(
        model=model,
        tunes=recipe.method.tune(),
        dataset=datasets[0],
        objective=objective,
        config=recipe.train,
        folder=folder,
        accelerator=accelerator,
        bad=bad,
        tokens=tokens,
        evaluate=numbers,
    ).run()
    scores = evaluate(model, datasets[1], accelerator, tokens)
    for video in scores.bad:
        bad.add(video)
    report = Report.of(scores, train.classes)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if accelerator.is_main_process:
        write_results(folder, val, scores, report, trained)
        save_model(folder.model, model.state_dict(), card(recipe, weights, model, names, report, config))
        folder.finish()
    accelerator.wait_for_everyone()
    if bad.found:
        say(bad.summary())
    return Result(folder, report, scores, trained)


def write_results(folder: RunFolder, val: Manifest, scores: Scores, report: Report, trained: int) -> None:
    """Write what `read_result` reads."""
    write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], val.classes)
    more = {"trained_parameters": trained, "seconds": folder.training_seconds()}
    write_json(folder.path / "results.json", asdict(report) | more)


def prompts(recipe: Recipe[Any], model: VideoCLIP, names: tuple[str, ...]) -> Tensor:
    """Token ids of the class names; or their embeddings, encoded once, where the text tower does not train."""
    tokens = model.prompt(names)
    if any(name.startswith("text.") for name in select(model, recipe.method.tune())):
        return tokens
    with torch.no_grad():
        text = model.eval().encode_text(tokens)
    assert text is not None
    return text


def read_result(folder: RunFolder) -> Result:
    """Read what a finished run gave."""
    content = json.loads((folder.path / "results.json").read_text(encoding="utf-8"))
    scores = read_predictions(folder.path / "predictions.jsonl")
    return Result(folder, Report.of(scores, tuple(content["classes"])), scores, content["trained_parameters"])


def identity(weights: ClipWeights, train: Manifest, val: Manifest, start: Path | None) -> dict[str, str]:
    """What a run goes on only with, beside its configuration: where CLIP came from, what it starts from, the clips."""
    found = {"start": sha256(start)} if start else {}
    return {"backbone": weights.name, "clips": clips_digest(train, val), **found}


def clips_digest(*parts: Manifest) -> str:
    """Name the clips of a run: it goes on only with the same ones, on the same sides of the split."""
    names = [[(c.path.parent.name, c.path.name, part.classes[c.label]) for c in part.clips] for part in parts]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def backbone_weights(recipe: Recipe[Any], start: Path | None = None) -> ClipWeights:
    """Load the weights of a run's backbone, those inside a trained file `start` where one is given.

    Raises:
        StillmotionError: the method reads class names and the weights have no text tower.
    """
    weights = (
        load_clip(recipe.backbone, image_size=recipe.image_size)
        if start is None
        else starting_clip(start, recipe.backbone, recipe.image_size)
    )
    if recipe.method.needs_text and weights.config.text is None:
        raise StillmotionError(
            f"{weights.name} holds an image tower only, this method compares videos with class names; pass --backbone "
            "with weights that have a text tower (a local CLIP file, or ViT-B-16:openai)"
        )
    return weights


def build(
    recipe: Recipe[Any],
    weights: ClipWeights,
    classes: tuple[str, ...],
    names: tuple[str, ...] | None = None,
    place: Place = HERE,
) -> VideoCLIP:
    """Build a run's model: new parts from the seed, what `place.start_from` shares from there, the rest from CLIP.

    Args:
        names: the classes as prompts write them; None: as they are.
    """
    torch.manual_seed(recipe.train.seed)
    model: VideoCLIP = recipe.method.build(weights.config, names or classes)
    load_into(model, weights.state, new=recipe.method.new(), source=weights.name)
    recipe.method.adopt(model)
    if place.start_from is not None:
        start_from(model, place.start_from, recipe.method, classes)
    if place.explain:
        say_parts(recipe, model)
    return model


def say_parts(recipe: Recipe[Any], model: VideoCLIP) -> None:
    """Print what trains, at what rate, and what is frozen."""
    train = recipe.train
    for part in explain(model, recipe.method.tune(), train.lr, train.weight_decay, train.decay):
        how = f"lr {part.lr:.3g}, weight decay {part.weight_decay:g}" if part.lr else "frozen"
        say(f"{part.name:28} {part.parameters:>12,} parameters in {part.tensors:>3} tensors: {how}")


def preprocess_of(recipe: Recipe[Any], weights: ClipWeights) -> Preprocess:
    """Sizes and pixel statistics of a run."""
    size = weights.config.vision.image_size
    return recipe.preprocess(
        Preprocess(size=size, mean=weights.mean, std=weights.std, interpolation=weights.interpolation)
    )


def prepare(
    recipe: Recipe[Any],
    weights: ClipWeights,
    train: Manifest,
    val: Manifest,
    accelerator: Accelerator,
    bad: BadVideos,
    cache: Path | None = None,
) -> Datasets:
    """Make the training and validation data sets: videos, or their features, encoded where they are missing.

    Raises:
        StillmotionError: augmentation that cached features cannot have, a full disk, too many bad videos.
    """
    preprocess, T = preprocess_of(recipe, weights), recipe.method.num_frames
    augment = Augment(recipe.augment, preprocess, recipe.flip)
    taps = recipe.method.cached_taps()
    if taps is None:
        one_view = replace(recipe.sampling, views=1, crops=1)
        train_set = VideoDataset(train, T, one_view, preprocess, augment, recipe.train.seed)
        return train_set, VideoDataset(val, T, recipe.sampling, preprocess)
    if recipe.train.mix:
        raise StillmotionError("--mix blends pixels, cached features have none; leave it out, or train CLIP too")
    if recipe.cached_views == 0 and (recipe.augment != "none" or recipe.flip):
        raise StillmotionError("augmentation with a frozen CLIP needs cached views; pass --cached-views 4, say")
    spec = FeatureSpec(
        backbone=weights.fingerprint(),
        num_frames=T,
        preprocess=preprocess,
        sampling=recipe.sampling,
        taps=tuple(sorted(set(resolve_taps(taps, weights.config.vision.layers)))),
        precision=recipe.train.precision if accelerator.device.type == "cuda" else "fp32",
    )
    encoder = Encoder(weights, spec, accelerator.device)
    name = f"{recipe.augment}-flip{recipe.flip:g}-"
    views = [views_of(train.clips, recipe.cached_views, name, bad), views_of(val.clips, 0, name, bad)]
    flat = [view for part in views for clip in part for view in clip]
    per_clip = encoder.views_per_clip()
    store = open_store(cache or cache_folder() / "features", spec, [i for v in flat for i in v.items(per_clip)])
    say(str(plan(flat, encoder, store)))
    mine = flat[accelerator.process_index :: accelerator.num_processes]
    encode(mine, encoder, store, bad, augment, recipe.train.data_workers(accelerator.device.type))
    accelerator.wait_for_everyone()
    store.refresh()
    used = resolve_taps(taps, weights.config.vision.layers)
    return (
        FeatureDataset(store, train.clips, views[0], per_clip, used, train=True, seed=recipe.train.seed),
        FeatureDataset(store, val.clips, views[1], per_clip, used, train=False),
    )


def evaluate(
    model: VideoCLIP,
    dataset: VideoDataset | FeatureDataset,
    accelerator: Accelerator,
    tokens: Tensor | None,
    quiet: bool = False,
) -> Scores:
    """Score a model on a data set; class names are encoded once."""
    model.eval()
    with torch.inference_mode():
        text = None if tokens is None else tokens.to(accelerator.device)
        if text is not None and not text.is_floating_point():
            text = model.encode_text(text)
    return score(model, dataset, accelerator, text, quiet=quiet)


def card(
    recipe: Recipe[Any],
    weights: ClipWeights,
    model: VideoCLIP,
    names: tuple[str, ...],
    report: Report,
    config: dict[str, Any],
) -> Card:
    """Describe a trained model."""
    return Card(
        method=recipe.method,
        classes=report.classes,
        names=names,
        clip=weights.config,
        clip_name=weights.name,
        fingerprints=fingerprints(model, weights, recipe.method.new()),
        preprocess=preprocess_of(recipe, weights),
        sampling=recipe.sampling,
        training={"run": config, "top1": report.top1, "mean_class": report.mean_class, "videos": report.scored},
    )
