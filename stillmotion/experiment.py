"""From a run to a checkpoint: read the data, load CLIP, encode or stream, train, evaluate, save."""

import contextlib
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
from stillmotion.data.source import load_data
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
from stillmotion.recipes.base import Run, declared
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


def fit(run: Run[Any], name: str, keep: bool = False) -> Result:
    """Train one model and evaluate it on the validation clips.

    Args:
        run: the resolved configuration.
        name: of the run's folder, where `run.out` does not say.
        keep: read the result of a finished run of the same configuration instead of refusing to train it again.

    Raises:
        StillmotionError: anything that the user can mend.
        Stopped: a signal asked to stop; the same call goes on from there.
    """
    path = run.out or Path("runs") / name
    accelerator = make_accelerator(run.train, path)
    weights = clip_weights(run)
    train, val = load_data(run.data, run.train.seed)
    with accelerator.main_process_first():
        own = identity(run, weights, train, val)
        folder = RunFolder(path, run.to_dict() | own, run.overwrite, keep, declared(run).to_dict() | own)
    with contextlib.closing(folder):
        return read_result(folder) if folder.finished else _train(run, weights, train, val, folder, accelerator)


def _train(
    run: Run[Any], weights: ClipWeights, train: Manifest, val: Manifest, folder: RunFolder, accelerator: Accelerator
) -> Result:
    bad = BadVideos(folder.bad_videos, len(train) + len(val), run.data.max_bad)
    objective = make_objective(run.method.objective, len(train.classes), run.train, accelerator.num_processes)
    model = build(run, weights, train.classes)
    datasets = prepare(run, weights, train, val, accelerator, bad)
    if isinstance(datasets[0], FeatureDataset):
        model.visual = CachedTower()
    tokens = prompts(run, model, train.classes) if run.method.needs_text else None

    def numbers(model: VideoCLIP) -> dict[str, float]:
        report = Report.of(evaluate(model, datasets[1], accelerator, tokens, quiet=True), train.classes)
        return {"top1": report.top1, "top5": report.top5, "mean_class": report.mean_class}

    Trainer(
        model=model,
        tunes=run.method.tune(),
        dataset=datasets[0],
        objective=objective,
        config=run.train,
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
        write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], train.classes)
        seconds = folder.training_seconds()
        write_json(folder.path / "results.json", {**asdict(report), "trained_parameters": trained, "seconds": seconds})
        save_model(folder.model, model.state_dict(), card(run, weights, model, train.classes, report))
        folder.finish()
    accelerator.wait_for_everyone()
    if bad.found:
        say(bad.summary())
    return Result(folder, report, scores, trained)


def prompts(run: Run[Any], model: VideoCLIP, classes: tuple[str, ...]) -> Tensor:
    """Token ids of the class names; or their embeddings, encoded once, where the text tower does not train."""
    tokens = model.prompt(run.data.names(classes))
    if any(name.startswith("text.") for name in select(model, run.method.tune())):
        return tokens
    with torch.no_grad():
        text = model.eval().encode_text(tokens)
    assert text is not None
    return text


def read_result(folder: RunFolder) -> Result:
    """Read what a finished run gave.

    Raises:
        StillmotionError: a file of it is missing or damaged.
    """
    file, scores = folder.path / "results.json", read_predictions(folder.path / "predictions.jsonl")
    try:
        trained = int(json.loads(file.read_text(encoding="utf-8"))["trained_parameters"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StillmotionError(f"cannot read {file} ({error!r}); pass --overwrite to train again") from error
    return Result(folder, Report.of(scores, scores.classes), scores, trained)


def identity(run: Run[Any], weights: ClipWeights, train: Manifest, val: Manifest) -> dict[str, str]:
    """What a run goes on only with, beside its configuration: CLIP or what it starts from, the clips and classes."""
    # A file to start from is known by its content, so that it may lie elsewhere when the run goes on.
    start = {"start": sha256(run.start_from)} if run.start_from else {"clip": weights.name}
    classes = hashlib.sha256(json.dumps(train.classes).encode()).hexdigest()[:16]
    return {"clips": clips_digest(train, val), "classes": classes, **start}


def clips_digest(*parts: Manifest) -> str:
    """Name the clips of a run: it goes on only with the same ones, on the same sides of the split."""
    names = [[(c.path.parent.name, c.path.name, part.classes[c.label]) for c in part.clips] for part in parts]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def clip_weights(run: Run[Any]) -> ClipWeights:
    """Load the CLIP weights of a run.

    Raises:
        StillmotionError: the method reads class names and the weights have no text tower.
    """
    weights = (
        load_clip(run.clip, image_size=run.image_size)
        if run.start_from is None
        else starting_clip(run.start_from, run.clip, run.image_size)
    )
    if run.method.needs_text and weights.config.text is None:
        raise StillmotionError(
            f"{weights.name} holds an image tower only, this method compares videos with class names; pass --clip with "
            "weights that have a text tower (a local CLIP file, or ViT-B-16:openai)"
        )
    return weights


def build(run: Run[Any], weights: ClipWeights, classes: tuple[str, ...]) -> VideoCLIP:
    """Build a run's model: new parts from the seed, the rest from CLIP."""
    torch.manual_seed(run.train.seed)
    model: VideoCLIP = run.method.build(weights.config, run.data.names(classes))
    load_into(model, weights.state, new=run.method.new(), source=weights.name)
    run.method.adopt(model)
    if run.start_from is not None:
        start_from(model, run.start_from, run.method, classes)
    if run.explain:
        say_parts(run, model)
    return model


def say_parts(run: Run[Any], model: VideoCLIP) -> None:
    """Print what trains, at what rate, and what is frozen."""
    train = run.train
    for part in explain(model, run.method.tune(), train.lr, train.weight_decay, train.decay):
        how = f"lr {part.lr:.3g}, weight decay {part.weight_decay:g}" if part.lr else "frozen"
        say(f"{part.name:28} {part.parameters:>12,} parameters in {part.tensors:>3} tensors: {how}")


def preprocess_of(run: Run[Any], weights: ClipWeights) -> Preprocess:
    """Sizes and pixel statistics of a run."""
    size = weights.config.vision.image_size
    return run.preprocess(
        Preprocess(size=size, mean=weights.mean, std=weights.std, interpolation=weights.interpolation)
    )


def prepare(
    run: Run[Any],
    weights: ClipWeights,
    train: Manifest,
    val: Manifest,
    accelerator: Accelerator,
    bad: BadVideos,
) -> Datasets:
    """Make the training and validation data sets: videos, or their features, encoded where they are missing.

    Raises:
        StillmotionError: augmentation that cached features cannot have, a full disk, too many bad videos.
    """
    preprocess, T = preprocess_of(run, weights), run.method.num_frames
    augment = Augment(run.augment, preprocess, run.flip)
    taps = run.method.cached_taps()
    if taps is None:
        one_view = replace(run.sampling, views=1, crops=1)
        train_set = VideoDataset(train, T, one_view, preprocess, augment, run.train.seed)
        return train_set, VideoDataset(val, T, run.sampling, preprocess)
    if run.train.mix:
        raise StillmotionError("--mix blends pixels, cached features have none; leave it out, or train CLIP too")
    if run.cached_views == 0 and (run.augment != "none" or run.flip):
        raise StillmotionError("augmentation with a frozen CLIP needs cached views; pass --cached-views 4, say")
    spec = FeatureSpec(
        backbone=weights.fingerprint(),
        num_frames=T,
        preprocess=preprocess,
        sampling=run.sampling,
        taps=tuple(sorted(set(resolve_taps(taps, weights.config.vision.layers)))),
        precision=run.train.precision if accelerator.device.type == "cuda" else "fp32",
    )
    encoder = Encoder(weights, spec, accelerator.device)
    name = f"{run.augment}-flip{run.flip:g}-"
    views = [views_of(train.clips, run.cached_views, name, bad), views_of(val.clips, 0, name, bad)]
    flat = [view for part in views for clip in part for view in clip]
    per_clip = encoder.views_per_clip()
    store = open_store(run.cache or cache_folder() / "features", spec, [i for v in flat for i in v.items(per_clip)])
    say(str(plan(flat, encoder, store)))
    mine = flat[accelerator.process_index :: accelerator.num_processes]
    encode(mine, encoder, store, bad, augment, run.train.data_workers(accelerator.device.type))
    accelerator.wait_for_everyone()
    store.refresh()
    used = resolve_taps(taps, weights.config.vision.layers)
    return (
        FeatureDataset(store, train.clips, views[0], per_clip, used, train=True, seed=run.train.seed),
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


def card(run: Run[Any], weights: ClipWeights, model: VideoCLIP, classes: tuple[str, ...], report: Report) -> Card:
    """Describe a trained model."""
    return Card(
        method=run.method,
        classes=classes,
        names=run.data.names(classes),
        clip=weights.config,
        clip_name=weights.name,
        fingerprints=fingerprints(model, weights, run.method.new()),
        preprocess=preprocess_of(run, weights),
        sampling=run.sampling,
        training={
            "run": run.to_dict(),
            "top1": report.top1,
            "mean_class": report.mean_class,
            "videos": report.scored,
        },
    )
