"""Checkpoints of the releases into ours, and back into what the releases and `transformers` load."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from stillmotion.backbones.weights import ClipWeights, load_clip
from stillmotion.checkpoint import TOWERS, Card, Tower, load_model, save_model
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.files import atomic_folder, sha256, write_json, write_torch
from stillmotion.releases.official import read_official
from stillmotion.weights.folders import folder_pixels, weight_files
from stillmotion.weights.names import from_openai, matches

_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers, as image processors write them


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
    _refuse_place(out, checkpoint, (".safetensors",))
    weights = None if clip is None else load_clip(clip, image_size=sizes.get("image_size"))
    if checkpoint.is_dir():
        preprocess = replace(preprocess, **folder_pixels(checkpoint))
    elif weights is not None:
        sizes = _sizes_of(weights) | sizes
    official = read_official(method, checkpoint, weights.state if weights else None, sizes)
    if official.num_classes is not None and not classes:
        classes = [str(i) for i in range(official.num_classes)]
    if official.num_classes is not None and len(classes) != official.num_classes:
        raise WeightsError(
            f"{len(classes)} class names for a head of {official.num_classes} classes; give one name per class"
        )
    state = {k: v.float() for k, v in official.state.items()}
    source = weight_files(checkpoint)[0] if checkpoint.is_dir() else checkpoint
    card = Card(
        method=official.method,
        classes=tuple(classes),
        names=tuple(classes),
        clip=official.clip,
        clip_name=weights.name if weights else str(checkpoint),
        fingerprints=_same_towers(state, official.method.new(), official.clip, weights),
        preprocess=replace(preprocess, size=official.clip.vision.image_size),
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
    _refuse_place(out, model, (".pth", ".pt", ".tar", ".bin") if layout == "official" else ("",))
    loaded, card = load_model(model, clip)
    state = {k: v.contiguous() for k, v in loaded.state_dict().items()}
    if layout == "official":
        write_torch(out, card.method.release(state))
        return
    config, tensors = card.method.hugging_face(state, card.clip)
    pixels, (side, _) = card.preprocess, card.preprocess.size
    if pixels.bgr:
        raise WeightsError("transformers' processors have no channels in reverse; write --to official")
    processor = {
        "image_mean": pixels.mean,
        "image_std": pixels.std,
        "resample": _RESAMPLE[pixels.interpolation],
        "size": {"shortest_edge": pixels.short_side or side},
    }
    with atomic_folder(out) as folder:
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
        write_json(folder / "config.json", config)
        write_json(folder / "preprocessor_config.json", processor | {"crop_size": {"height": side, "width": side}})


def _same_towers(
    state: dict[str, torch.Tensor], new: Sequence[str], config: Any, weights: ClipWeights | None
) -> dict[Tower, str]:
    """Fingerprints of the towers that are as CLIP's own, bit by bit."""
    if weights is None or (config.vision, config.activation) != (weights.config.vision, weights.config.activation):
        return {}
    clip, found = from_openai(weights.state), {}
    for tower in TOWERS:
        plain = {k: v for k, v in state.items() if k.startswith(tower) and not matches(k, new)}
        if plain and all(k in clip and torch.equal(v, clip[k]) for k, v in plain.items()):
            found[tower] = weights.fingerprint(tower)
    return found


def _sizes_of(weights: ClipWeights) -> dict[str, Any]:
    """What the tensors of a CLIP do not show."""
    sizes = {"activation": weights.config.activation, "vision_heads": weights.config.vision.heads}
    return sizes | ({"text_heads": weights.config.text.heads} if weights.config.text else {})


def _refuse_place(out: Path, source: Path, suffixes: tuple[str, ...]) -> None:
    if out.resolve() == source.resolve():
        raise WeightsError(f"{out} is the file to read; write to another place with -o")
    if suffixes != ("",) and out.suffix not in suffixes:
        raise WeightsError(f"{out} ends in {out.suffix!r}; this writes a {' or '.join(suffixes)} file")
