"""Classifiers by class names alone, from CLIP's own weights, untrained."""

from collections.abc import Sequence
from pathlib import Path

import torch

from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import load_into
from stillmotion.classifier import Classifier
from stillmotion.data.manifest import clean_name
from stillmotion.data.sampling import Sampling
from stillmotion.data.text_features import read_text_features
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.methods import METHODS, Method


def from_backbone(
    method: str,
    classes: Sequence[str] | None,
    *,
    backbone: str = "ViT-B-16:openai",
    text_features: Path | None = None,
    clean_names: bool = False,
    device: str | torch.device | None = None,
) -> Classifier:
    """Build an open-vocabulary classifier from CLIP's own weights, untrained.
    Raises `StillmotionError`: a method that must be trained, weights without what is needed, or misshapen embeddings.

    Args:
        method: `zero_shot` or `vificlip`.
        classes: their names; None: to be assigned later, or never, for embeddings alone.
        backbone: its weights, see the table of `stillmotion.backbones.load`.
        text_features: `.npy` file with class embeddings (K, E) in the order of `classes`, in place of a text tower.
        clean_names: write names as words in prompts (ApplyEyeMakeup: apply eye makeup).
    """
    if method not in METHODS:
        raise StillmotionError(f"there is no method {method!r}{did_you_mean(method, METHODS)}")
    built: Method = METHODS[method]()
    if not built.needs_text or built.new_parameters():
        raise StillmotionError(
            f"{method} must be trained before it can classify: stillmotion train {method} --data FOLDER, then pass its "
            "model.safetensors"
        )
    if classes is not None and not classes:
        raise StillmotionError(f'{method} needs class names; pass --labels "surfing, skiing, ..."')
    weights = load_backbone(backbone)
    classes = classes or ()
    names = [clean_name(c) for c in classes] if clean_names else list(classes)
    text = None if text_features is None else read_text_features(text_features, len(names), weights.backbone.embed_dim)
    model = built.build(weights.backbone, names)
    load_into(model, weights.state, new=(), source=weights.name)
    classifier = Classifier(
        model,
        preprocess=weights.backbone.pixels,
        sampling=Sampling(),
        num_frames=built.num_frames,
        classes=classes,
        names=names,
        text=text,
        device=device,
    )
    classifier.untuned = lambda: None  # nothing was
    return classifier
