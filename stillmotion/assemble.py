"""What a run is made of: the backbone's weights, the model, what trains it, what tells it apart, and its card."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from stillmotion.backbones.load import absolute
from stillmotion.backbones.weights import TOWERS, Tower, Weights, image_tower, load_into
from stillmotion.checkpoint import Card, fingerprints
from stillmotion.data.manifest import Manifest
from stillmotion.data.multi_label import hot
from stillmotion.data.source import Data
from stillmotion.data.text_features import read_text_features
from stillmotion.errors import StillmotionError
from stillmotion.eval.multi_label import headline
from stillmotion.eval.report import Report
from stillmotion.files import Digests, sha256, short_digest
from stillmotion.methods import Method
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.progress import say
from stillmotion.recipes.base import HERE, Place, Recipe
from stillmotion.start import start_from
from stillmotion.training.batches import BatchPlan
from stillmotion.training.learner import Learner
from stillmotion.training.multi_label import make_multi_label
from stillmotion.training.objective import Contrastive, Objective, make_objective
from stillmotion.training.tuning import explain, rules

Names = tuple[str, ...]


def make_learner(
    recipe: Recipe[Any], weights: Weights, clips: Manifest, data: Data, place: Place, accelerator: Accelerator
) -> Learner:
    """Build a run's model and what trains it, on these clips, which came from `data`."""
    names = data.names(clips.classes)
    tokens = class_embeddings(data, clips.classes, weights, recipe.method)
    train, method = recipe.train, recipe.method
    objective = _objective(recipe, clips)
    model = build(recipe, weights, clips.classes, names, place)
    model.multi_label = clips.multi_label
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
    if method.needs_text and tokens is None:
        tokens = model.prompt(names)
    if tokens is not None and not tokens.is_floating_point() and not any(name.startswith("text.") for name in trained):
        with torch.no_grad():  # encoded once, where the text tower does not train
            tokens = model.eval().encode_text(tokens)
    rank, world = accelerator.process_index, accelerator.num_processes
    labels = tuple(clip.label for clip in clips.clips) if train.sampler == "balanced" else None
    plan = BatchPlan(len(clips), train.batch_size, train.micro_batch, train.epochs, train.seed, rank, world, labels)
    return Learner(model, method.tune(), objective, train, plan, accelerator, tokens)


def _objective(recipe: Recipe[Any], clips: Manifest) -> Objective | Contrastive:
    """What is trained: of clips with several labels another loss than of those with one."""
    train, method = recipe.train, recipe.method
    if clips.multi_label:
        return make_multi_label(hot(clips.clips, len(clips.classes)), train, method.needs_text)
    return make_objective(method.objective, clips.counts(), train)


def class_embeddings(data: Data, classes: Names, weights: Weights, method: Method) -> Tensor | None:
    """Class embeddings (K, E) that stand for a text tower; None: none are given.
    Raises `StillmotionError`: not such a file, or the method reads no class names, or trains the text tower.
    """
    if data.text_features is None:
        return None
    if not method.needs_text:
        raise StillmotionError("--text-features goes with methods that compare videos with class names; leave it out")
    if any(tune.pattern.startswith("text") for tune in method.tune()):
        raise StillmotionError(
            f"{data.text_features} stands for a text tower, which then does not train; train the image tower alone "
            "(vificlip --tuned image)"
        )
    return read_text_features(data.text_features, len(classes), weights.backbone.embed_dim)


def identity(
    recipe: Recipe[Any],
    weights: Weights,
    parts: tuple[Manifest, Manifest],
    files: Sequence[Path | None],
    digests: Digests,
) -> dict[str, Any]:
    """What a run goes on only with, beside its configuration, by content and not by place: it may lie elsewhere.

    A clip is known by what features are known by, or by its file's size where no features are kept; `files` are the one
    to start from, and the one of class embeddings.
    """

    def content(path: Path) -> str | int:
        try:
            return digests.digest(path) if recipe.cached else path.stat().st_size
        except OSError:
            return 0  # is counted as a bad video where it is decoded

    found: dict[str, Any] = {name: sha256(file) for name, file in zip(("start", "text"), files) if file}
    clips = [
        [(c.path.name, "|".join(part.classes[k] for k in c.every), content(c.path)) for c in part.clips]
        for part in parts
    ]
    found |= {"clips": short_digest(clips), "classes": short_digest(parts[0].classes)}
    return found | {"backbone": [fingerprint[:16] for fingerprint in backbone_hashes(recipe, weights).values()]}


def backbone_hashes(recipe: Recipe[Any], weights: Weights) -> dict[str, str]:
    """SHA-256 of the towers that a run started from, and that its method reads."""
    towers: tuple[Tower, ...] = TOWERS if recipe.method.needs_text else TOWERS[:1]
    return {f"backbone.{tower.rstrip('.')}": weights.fingerprint(tower) for tower in towers}


def build(
    recipe: Recipe[Any], weights: Weights, classes: Names, names: Names | None = None, place: Place = HERE
) -> VideoCLIP:
    """Build a run's model: new parts from the seed, what `place.start_from` shares from there, the rest as it came.

    `names` are the classes as prompts write them; None: as they are. A frozen tower, whose outputs are read from the
    cache, is not built: it takes longer than many a head takes to train.
    """
    backbone = weights.backbone
    apart = recipe.method.frozen and not place.explain and place.start_from is None
    if apart:
        backbone = replace(backbone, make_visual=lambda reads, **seams: nn.Identity())
    torch.manual_seed(recipe.train.seed)
    model: VideoCLIP = recipe.method.build(backbone, names or classes)
    load_into(model, weights.state, new=recipe.method.new_parameters(), source=weights.name)
    if apart and not recipe.cached:  # put in afterwards, so that new parts start alike wherever features come from
        model.visual = tower_of(recipe, weights)
    recipe.method.init_from_backbone(model)
    if place.start_from is not None:
        start_from(model, place.start_from, recipe.method, classes)
    return model


def tower_of(recipe: Recipe[Any], weights: Weights) -> nn.Module:
    """The image tower that a recipe's model reads, as it came, in evaluation mode."""
    return image_tower(weights, recipe.method.reads()).eval().requires_grad_(False)


def card(
    recipe: Recipe[Any],
    weights: Weights,
    model: VideoCLIP,
    names: Names,
    report: Report,
    config: dict[str, Any],
    runtime: str,
    epoch: int,
) -> Card:
    """Describe a trained model, whose weights are those behind an epoch."""
    left, tuned = fingerprints(model, weights, recipe.method.new_parameters())
    return Card(
        method=recipe.method,
        classes=report.classes,
        names=names,
        backbone=weights.backbone,
        backbone_name=absolute(weights.name),
        fingerprints=left,
        tuned_from=tuned,
        preprocess=recipe.preprocess(weights.backbone.pixels),
        sampling=recipe.sampling,
        runtime=runtime,
        stored=recipe.stored,
        multi_label=model.multi_label,
        training={"run": config, "epoch": epoch, **headline(report), "videos": report.scored},
    )
