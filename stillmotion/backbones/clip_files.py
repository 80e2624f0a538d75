"""CLIP's own files: a name or a path in, sizes and tensors with OpenAI's names out."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.tiny import FILE, TINY, with_all_rows
from stillmotion.backbones.weights import Weights
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.progress import say
from stillmotion.weights import hub
from stillmotion.weights.folders import (
    folder_pixels,
    folder_sizes,
    folder_tokenizer,
    pixel_settings,
    read_object,
    read_sharded,
)
from stillmotion.weights.int8_wheel import openai_int8
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import read_state

INT8 = "ViT-B-16:openai-int8"
OPENAI = "ViT-B-16:openai"
# OpenAI trained the temperature up to its bound, 100; a file of the image tower alone leaves it out.
LOGIT_SCALE = {"logit_scale": torch.tensor(math.log(100))}


def cache_folder() -> Path:
    """Where weights and features are kept: $STILLMOTION_CACHE, or the user's cache folder of this system."""
    return Path(os.environ.get("STILLMOTION_CACHE") or platformdirs.user_cache_dir("stillmotion", appauthor=False))


def clip_config(weights: Weights) -> CLIPConfig:
    """The sizes of weights whose backbone is a CLIP. Raises `WeightsError`: it is of another kind."""
    if weights.backbone.kind != "clip":
        raise WeightsError(f"{weights.name} is a backbone of kind {weights.backbone.kind}; pass one of CLIP's own kind")
    return CLIPConfig.from_dict(weights.backbone.sizes)


def clip_weights(
    name: str, config: CLIPConfig, state: Mapping[str, Tensor], pixels: Preprocess | None = None
) -> Weights:
    """Tensors with OpenAI's names, in float32, as the weights of a CLIP of these sizes."""
    state = {k: v.float().contiguous() for k, v in state.items()}
    return Weights(name=name, backbone=describe(config, pixels), state=state)


def load(name: str, image_size: tuple[int, int] | None, sizes: Mapping[str, Any]) -> Weights:
    """Find and read CLIP weights.

    Args:
        name: see the table of `backbones/load.py`.
        image_size: another input size in pixels, (height, width); the position table is interpolated.
        sizes: of a local file, what its tensors do not show: activation, vision_heads, text_heads.

    Raises `WeightsError`: the weights cannot be found or read.
    """
    weights = _resolve(name, {k: v for k, v in sizes.items() if v is not None})
    return weights if image_size is None else resized(weights, image_size)


def resized(weights: Weights, image_size: int | tuple[int, int]) -> Weights:
    """Return CLIP weights for another input size, square or not: positions interpolated (bicubic, antialiased)."""
    before = clip_config(weights)
    config = before.at(image_size)
    if config == before:
        return weights
    (old_h, old_w), (new_h, new_w) = before.vision.grid, config.vision.grid
    table = weights.state["visual.positional_embedding"]
    patches_1DHW = table[1:].T.unflatten(-1, (old_h, old_w))[None]
    resized_1DHW = F.interpolate(patches_1DHW, (new_h, new_w), mode="bicubic", antialias=True, align_corners=False)
    positions = torch.cat([table[:1], resized_1DHW[0].flatten(1).T])
    state = weights.state | {"visual.positional_embedding": positions}
    return clip_weights(weights.name, config, state, weights.backbone.pixels)


def _resolve(name: str, sizes: dict[str, Any]) -> Weights:
    if sizes and (name == TINY or not Path(name).exists()):
        raise WeightsError(f"{', '.join(sizes)} go with a local file; {name} has sizes of its own: leave them out")
    if name == "auto":
        try:
            return _resolve(INT8, sizes)
        except WeightsError as error:
            say(f"{error}; trying {OPENAI}")
            return _resolve(OPENAI, sizes)
    if name == TINY:
        return _local(name, FILE, None, sizes)
    if Path(name).exists():
        return _local(name, Path(name), None, sizes)
    model, colon, tag = name.partition(":")
    if name == INT8:
        state = openai_int8(cache_folder() / "weights") | LOGIT_SCALE
        return clip_weights(name, CLIPConfig.from_state(state), state)
    if not colon:
        raise WeightsError(
            f"{name!r} is neither a file or folder nor MODEL:TAG; pass a path, or a name such as {OPENAI} or {INT8}"
        )
    if model in ("transformers", "torchvision"):
        raise WeightsError(
            f"{name} is no backbone: models of {model} are for predict, eval and explain; pass a CLIP file or folder "
            "by its path alone, MODEL:TAG, timm:NAME or vjepa2:FOLDER"
        )
    if file := local_file(tag):
        return _local(name, file, CLIPConfig.published(model), sizes)
    config, entry = CLIPConfig.published(model), hub.published(model, tag)
    config = replace(config, activation="quick_gelu" if entry.get("quick_gelu") else config.activation)
    state = to_openai(read_state(hub.fetch(model, tag)))
    return clip_weights(name, config, state, Preprocess(**pixel_settings(entry, name)))


def local_file(tag: str) -> Path | None:
    """The file or folder in the place of a pretrained tag; None: it is a tag.

    Raises `WeightsError`: it is written as a path, and nothing is there.
    """
    file = Path(tag).expanduser()
    # What is named like a tag must not hide the tag: it is a path only where it is written as one.
    if (file.suffix and file.is_file()) or (file.exists() and any(mark in tag for mark in "/\\")):
        return file
    if any(mark in tag for mark in "/\\") or tag.endswith((".pt", ".safetensors", ".bin")):
        raise WeightsError(f"no weights file {tag}; pass an existing path")
    return None


def _local(name: str, path: Path, config: CLIPConfig | None, sizes: dict[str, Any]) -> Weights:
    pixels: dict[str, Any] = {}
    if path.is_dir():
        state, pixels = read_sharded(path), folder_pixels(path)
        if raw := read_object(path / "open_clip_config.json", "model_cfg"):
            config = config or CLIPConfig.from_open_clip(raw, folder_tokenizer(path))
        if config and sizes:
            raise WeightsError(f"{', '.join(sizes)}: {path} says its sizes itself; leave them out")
        sizes = folder_sizes(path) | sizes
    else:
        state = read_state(path)
    state = with_all_rows(to_openai(state), name)
    state = state if "positional_embedding" in state else LOGIT_SCALE | state
    return clip_weights(name, config or CLIPConfig.from_state(state, **sizes), state, Preprocess(**pixels))
