"""Checkpoints of the releases into ours, and back into what the releases and `transformers` load."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from stillmotion.backbones.clip import describe
from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import TOWERS, Tower, Weights
from stillmotion.checkpoint import Card, load_model, save_model
from stillmotion.data.many import Reading
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.files import atomic_folder, sha256, write_json, write_torch
from stillmotion.methods import name_of
from stillmotion.releases import RELEASES
from stillmotion.releases.base import Official, hidden_sizes
from stillmotion.releases.official import NOTE, Opened, names_of, open_release, read_official
from stillmotion.weights.folders import folder_pixels, weight_files
from stillmotion.weights.names import from_openai, matches

_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers, as image processors write them


def read_release(
    checkpoint: Path,
    method: str,
    reading: Reading,
    *,
    clip: str | None = None,
    classes: Sequence[str] = (),
    given: dict[str, Any],
) -> tuple[Official, Card, bool]:
    """Read a checkpoint of a release: the model, what it says of itself, and whether it was one of ours before.

    A tower of CLIP that the checkpoint left as it was is known by its fingerprint, where `clip` names it.

    Args:
        checkpoint: the release's file, or a Hugging Face folder.
        method: which release it is of.
        reading: how the release reads videos; a file that was written from a model of ours says how that one does,
            and the names of its classes.
        clip: CLIP weights, for what the release does not hold.
        classes: names of the classes, where the model has a closed set.
        given: what the tensors do not show, see `from_official`.

    Raises `WeightsError`: the checkpoint does not fit the method, or the number of classes.
    """
    opened = open_release(method, checkpoint)
    weights = None if clip is None else load_backbone(clip, image_size=(opened.sizes | given).get("image_size"))
    held = None if weights is None else Opened(weights.state, hidden_sizes(clip_config(weights)))
    official, config = read_official(method, opened, held, given, reading.num_frames)
    kept = opened.card
    names = tuple(names_of(official, classes or (kept.classes if kept else None)))
    preprocess, sampling = (kept or reading).preprocess, (kept or reading).sampling
    if checkpoint.is_dir() and not kept:
        preprocess = replace(preprocess, **folder_pixels(checkpoint))
    pixels = kept.backbone.pixels if kept else Preprocess(mean=preprocess.mean, std=preprocess.std)
    source = weight_files(checkpoint)[0] if checkpoint.is_dir() else checkpoint
    card = Card(
        method=official.method,
        classes=names,
        names=kept.names if kept and names == kept.classes else names,
        backbone=describe(config, pixels),
        backbone_name=weights.name if weights else str(checkpoint.absolute()),
        fingerprints=_same_towers(official, config, weights),
        preprocess=replace(preprocess, size=config.vision.image_size),
        sampling=sampling,
        training={"converted_from": checkpoint.name, "sha256": sha256(source)},
    )
    return official, card, kept is not None


def from_release(checkpoint: Path, method: str, out: Path, reading: Reading, **how: Any) -> tuple[Card, bool]:
    """Write a checkpoint of a release as one of ours, `out`; returns what it says of itself, and whether it was ours.

    Arguments and errors are as `read_release`'s; a tower that is known by its fingerprint is not stored again. Nothing
    is written where anything is wrong.
    """
    _refuse_place(out, checkpoint, (".safetensors",))
    official, card, kept = read_release(checkpoint, method, reading, **how)
    save_model(out, official.state, card)
    return card, kept


def to_release(model: Path, out: Path, layout: Literal["official", "hf"], clip: str | None = None) -> Card:
    """Write a model of ours as its release's code loads it, or as a folder for `transformers`; returns its card.

    What such a file has no place for (how videos are read, class names, options) is kept beside what is loaded from it,
    and `from_release` reads it back.

    Args:
        model: a checkpoint of ours.
        out: the file (official), or the folder (hf), to write.
        clip: CLIP weights that the checkpoint needs, where they are not where they came from.

    Raises `WeightsError`: the method has no release, or `transformers` no such model.
    """
    _refuse_place(out, model, (".pth", ".pt", ".tar", ".bin") if layout == "official" else ("",))
    loaded, card = load_model(model, clip)
    kind, release = type(card.method).__name__, RELEASES.get(name_of(card.method))
    if release is not None and card.backbone.kind != "clip":
        raise WeightsError(f"releases and transformers have CLIP's own towers; this model has {card.backbone_name}'s")
    state = {k: v.contiguous() for k, v in loaded.state_dict().items()}
    note = replace(card, fingerprints={}, training={}).to_json()
    if layout == "official":
        if release is None:
            raise WeightsError(f"{kind} has no official release to write a checkpoint for")
        write_torch(out, release.write(card.method, state) | {NOTE: note})
        return card
    if release is None or release.to_hugging_face is None:
        raise WeightsError(f"transformers has plain CLIP and X-CLIP, no {kind}; write --to official")
    config, tensors = release.to_hugging_face(card.method, state, CLIPConfig.from_dict(card.backbone.sizes))
    pixels, (side, _) = card.preprocess, card.preprocess.size
    if pixels.bgr:
        raise WeightsError("transformers' processors have no channels in reverse; write --to official")
    processor = {"image_mean": pixels.mean, "image_std": pixels.std, "resample": _RESAMPLE[pixels.interpolation]}
    processor |= {"size": {"shortest_edge": pixels.short_side or side}, "crop_size": {"height": side, "width": side}}
    with atomic_folder(out) as folder:
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
        write_json(folder / "config.json", config)
        write_json(folder / "preprocessor_config.json", processor)
        (folder / f"{NOTE}.json").write_text(note + "\n", encoding="utf-8")
    return card


def _same_towers(official: Official, config: CLIPConfig, weights: Weights | None) -> dict[Tower, str]:
    """Fingerprints of the towers that are as CLIP's own, bit by bit."""
    base = clip_config(weights) if weights else None
    if not (weights and base) or (config.vision, config.activation) != (base.vision, base.activation):
        return {}
    clip, new, found = from_openai(weights.state), official.method.new_parameters(), {}
    for tower in TOWERS:
        plain = {k: v for k, v in official.state.items() if k.startswith(tower) and not matches(k, new)}
        if plain and all(k in clip and torch.equal(v, clip[k]) for k, v in plain.items()):
            found[tower] = weights.fingerprint(tower)
    return found


def _refuse_place(out: Path, source: Path, suffixes: tuple[str, ...]) -> None:
    if out.resolve() == source.resolve():
        raise WeightsError(f"{out} is the file to read; write to another place with -o")
    if suffixes != ("",) and out.suffix not in suffixes:
        raise WeightsError(f"{out} ends in {out.suffix!r}; this writes a {' or '.join(suffixes)} file")
