"""`stillmotion predict MODEL VIDEO...`: class names and probabilities."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError

if TYPE_CHECKING:
    from stillmotion.classifier import Classifier
    from stillmotion.cli.eval import Eval


@dataclass(frozen=True)
class Predict:
    """Classify videos."""

    model: tyro.conf.Positional[str]
    """A model.safetensors of a run; zero_shot or vificlip for CLIP by class names; or a model of another library:
    transformers:FOLDER, transformers:HUB_NAME, torchvision:MODEL, torchvision:MODEL:FILE.pth."""
    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Video files."""
    top: int = 5
    """Classes to print."""
    labels: str | None = None
    """Class names for an open-vocabulary model: separated by commas, or a file with one per line."""
    text_features: Path | None = None
    """A .npy file of class embeddings (classes, width) in the order of the labels, in place of a text tower."""
    clip: str | None = None
    """CLIP weights: a path, or a name such as ViT-B-16:openai; None: those the model was trained on."""
    clean_names: bool = False
    """Write class names as words in prompts (ApplyEyeMakeup: apply eye makeup)."""
    stride: int | None = None
    """Frames from one sampled frame to the next, for other libraries' models; None: see docs/ensembles.md."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to run."""
    json: bool = False
    """Print one JSON object per video."""


def run(words: Sequence[str]) -> None:
    """Classify and print; a video that cannot be read ends with an error after the others are done."""
    options: Predict = parse(Predict, words, "stillmotion predict")
    if not options.videos:
        raise StillmotionError(f"there are no videos; name some: stillmotion predict {options.model} surf.mp4")
    if options.top < 1:
        raise StillmotionError(f"--top is {options.top}; it must be at least 1")
    labels = None if options.labels is None else _read_labels(options.labels)
    classify = open_model(options, labels, labels, options.device)
    failed: list[str] = []
    for path in options.videos:
        try:
            prediction = classify(path)
        except StillmotionError as error:
            failed.append(str(error))
            continue
        best = prediction.top(options.top)
        if options.json:
            print(json.dumps({"path": str(path), "label": best[0][0], "scores": dict(best)}))
        else:
            print(path if len(options.videos) > 1 else "", end="\n" if len(options.videos) > 1 else "")
            print("\n".join(f"{100 * score:6.2f} %  {name}" for name, score in best))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise StillmotionError(failed[0] + more)


def open_model(
    options: "Predict | Eval", classes: Sequence[str] | None, names: Sequence[str] | None, device: str
) -> "Classifier":
    """Load what `predict` and `eval` name, for these classes.

    Args:
        names: names of the logits of another library's model that has none of its own.
    """
    from stillmotion.libraries.classifier import is_foreign, load_foreign

    if not is_foreign(options.model):
        if options.stride is not None:
            raise StillmotionError(
                f"--stride goes with transformers: and torchvision: models; {options.model} is tested as it was trained"
            )
        return load_classifier(options.model, classes, options.text_features, options.clip, options.clean_names, device)
    if options.text_features is not None or options.clip is not None or options.clean_names:
        raise StillmotionError(
            f"--clip, --text-features and --clean-names go with CLIP; {options.model} takes none of them"
        )
    where = None if device == "auto" else device
    return load_foreign(options.model, classes, names=names, stride=options.stride, device=where)


def load_classifier(
    model: str,
    labels: Sequence[str] | None,
    text_features: Path | None,
    clip: str | None,
    clean_names: bool,
    device: str,
) -> "Classifier":
    """Load a trained model, or CLIP by class names, as `predict` and `eval` name them."""
    from stillmotion.classifier import from_clip, load
    from stillmotion.methods import METHODS

    where = None if device == "auto" else device
    if model in METHODS:
        if labels is None:
            raise StillmotionError(f'{model} needs class names; pass --labels "surfing, skiing, ..."')
        return from_clip(
            model,
            labels,
            clip=clip or "ViT-B-16:openai",
            text_features=text_features,
            clean_names=clean_names,
            device=where,
        )
    if text_features is not None:
        raise StillmotionError("--text-features goes with zero_shot or vificlip; a trained model has its own classes")
    if clean_names:
        raise StillmotionError("--clean-names goes with zero_shot or vificlip; a trained model keeps its own names")
    loaded = load(model, clip=clip, device=where)
    if labels is not None:
        loaded.classes = labels
    return loaded


def _read_labels(text: str) -> Sequence[str]:
    from stillmotion.data.manifest import read_label_map

    # os.path.isfile says no to a text too long for a file name; Path.is_file raises.
    return read_label_map(Path(text)) if os.path.isfile(text) else _names(text)  # noqa: PTH113


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise StillmotionError('--labels is empty; separate class names by commas: --labels "surfing, skiing"')
    return names
