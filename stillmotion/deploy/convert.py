"""Checkpoints of the releases into ours, and back into what the releases and `transformers` load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.deploy.checkpoint import TOWERS, Card, Tower, load_model, save_model
from stillmotion.deploy.official import read_official
from stillmotion.errors import WeightsError
from stillmotion.files import atomic_folder, atomic_write, sha256, write_json
from stillmotion.models.names import OPENAI, matches, translate
from stillmotion.models.weights import ClipWeights, load_clip

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


def from_release(
    checkpoint: Path,
    method: str,
    out: Path,
    *,
    clip: str | None = None,
    classes: Sequence[str] = (),
    preprocess: Preprocess,
    sampling: Sampling,
    sizes: dict[str, Any],
) -> Card:
    """Write a checkpoint of a release as one of ours; returns what it says of itself.

    A tower of CLIP that the checkpoint left as it was is not stored again, where `clip` names it.

    Args:
        checkpoint: the release's file, or a Hugging Face folder.
        method: which release it is of.
        out: the file to write.
        clip: CLIP weights, for what the release does not hold.
        classes: names of the classes, where the model has a closed set.
        preprocess, sampling: how the release reads videos; the size is the model's.
        sizes: what the tensors do not show, see `from_official`.

    Raises:
        WeightsError: the checkpoint does not fit the method, or the number of classes.
    """
    weights = None if clip is None else load_clip(clip, image_size=sizes.get("image_size"))
    official = read_official(method, checkpoint, weights.state if weights else None, sizes)
    if official.num_classes is not None and not classes:
        classes = [str(i) for i in range(official.num_classes)]
    if official.num_classes is not None and len(classes) != official.num_classes:
        raise WeightsError(
            f"{len(classes)} class names for a head of {official.num_classes} classes; give one name per class"
        )
    state = {k: v.float() for k, v in official.state.items()}
    source = checkpoint / "config.json" if checkpoint.is_dir() else checkpoint
    card = Card(
        method=official.method,
        classes=tuple(classes),
        names=tuple(classes),
        clip=official.clip,
        clip_name=weights.name if weights else str(checkpoint),
        fingerprints=_same_towers(state, official.method.new(), official.clip, weights),
        preprocess=Preprocess(**{**preprocess.__dict__, "size": official.clip.vision.image_size}),
        sampling=sampling,
        training={"converted_from": checkpoint.name, "sha256": sha256(source)},
    )
    save_model(out, state, card)
    return card


def to_release(model: Path, out: Path, layout: Literal["official", "hf"], clip: str | None = None) -> None:
    """Write a model of ours as its release's code loads it, or as a folder for `transformers`.

    Args:
        model: a checkpoint of ours.
        out: the file (official), or the folder (hf), to write.
        clip: CLIP weights that the checkpoint needs, where they are not where they came from.

    Raises:
        WeightsError: the method has no release, or `transformers` no such model.
    """
    loaded, card = load_model(model, clip)
    state = {k: v.contiguous() for k, v in loaded.state_dict().items()}
    if layout == "official":
        content = card.method.release(state)
        with atomic_write(out) as temporary:
            torch.save(content, temporary)
        return
    config, tensors = card.method.hugging_face(state, card.clip)
    pixels, (side, _) = card.preprocess, card.preprocess.size
    processor = {"image_mean": pixels.mean, "image_std": pixels.std, "size": {"shortest_edge": side}}
    with atomic_folder(out) as folder:
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
        write_json(folder / "config.json", config)
        write_json(folder / "preprocessor_config.json", processor | {"crop_size": {"height": side, "width": side}})


def _same_towers(
    state: dict[str, torch.Tensor], new: Sequence[str], config: Any, weights: ClipWeights | None
) -> dict[Tower, str]:
    """Fingerprints of the towers that are as CLIP's own, bit by bit."""
    if weights is None:
        return {}
    plain = {k: v for k, v in state.items() if k.startswith(TOWERS) and not matches(k, new)}
    inside = ClipWeights(name="", config=config, state=translate(plain, OPENAI, back=True))
    towers = [tower for tower in TOWERS if any(k.startswith(tower) for k in plain)]
    return {t: weights.fingerprint(t) for t in towers if inside.fingerprint(t) == weights.fingerprint(t)}
