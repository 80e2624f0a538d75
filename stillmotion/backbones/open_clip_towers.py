"""open_clip's models whose towers are not CLIP's own ViTs: SigLIP, SigLIP 2, EVA, PE-Core, ConvNeXt, ResNets.

ViT-B-16-SigLIP:webli    any of its models and pretrained tags, from the hub or its local cache
EVA02-B-16:path/to/file  a file, with the sizes of that model
path/to/folder           an open_clip model folder

Both towers are open_clip's own modules, so all but their outputs stays closed: no blocks are read, none are replaced.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from stillmotion.backbones import timm_towers
from stillmotion.backbones.backbone import Backbone, check_video
from stillmotion.backbones.bounds import check_grid, check_whole
from stillmotion.backbones.clip_files import local_file
from stillmotion.backbones.config import TextConfig, unsupported
from stillmotion.backbones.weights import Weights
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError, damaged
from stillmotion.models.features import Features, Reads
from stillmotion.weights import hub
from stillmotion.weights.folders import folder_pixels, folder_tokenizer, pixel_settings, read_object, read_sharded
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import read_state

MOST, MOST_OTHER = {"layers": 200, "vocab_size": 1 << 20, "context_length": 32768}, 16384
# What a configuration says of tokenizers, of weights of others, and of outputs of another shape.
APART = ("hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs", "timm_model_pretrained", "output_tokens")


class FrameTower(nn.Module):
    """An image tower of open_clip, applied to every frame: `frames` are what its `encode_image` gives."""

    by_frame = True

    def __init__(self, tower: nn.Module, image_size: tuple[int, int]):
        super().__init__()
        self.tower, self.image_size = tower, image_size

    def forward(self, video: Tensor) -> Features:
        """Encode a normalized (B, T, 3, H, W) video."""
        check_video(video, self.image_size)
        return {"frames": self.tower(video.flatten(0, 1)).unflatten(0, video.shape[:2])}


def has(name: str) -> bool:
    """Whether a name or folder is of open_clip, and its two towers are not those of kind `clip`."""
    try:
        raw = _config(name)
        closed = "multimodal_cfg" in raw or "hf_model_name" in raw.get("text_cfg", {})
        return bool(raw) and not closed and unsupported(raw) is not None
    except (TypeError, AttributeError, ValueError):  # damaged: kind `clip` says how
        return False


def load(name: str, image_size: tuple[int, int] | None, sizes: Mapping[str, Any]) -> Weights:
    """Find and read weights of such a model: see the module's table.

    Raises `WeightsError`: the weights cannot be found, read or matched.
    """
    raw, folder, pixels = _config(name), Path(name), {}
    if not raw:
        raise WeightsError(f"open_clip has no model for {name!r}; pass MODEL:TAG, MODEL:FILE or its model folder")
    tokenizer, _, tag = name.partition(":")
    if folder.is_dir():
        state, pixels, tokenizer = read_sharded(folder), folder_pixels(folder), folder_tokenizer(folder)
    elif file := local_file(tag):
        state = read_state(file)
    else:
        entry = hub.published(tokenizer, tag)
        pixels = pixel_settings(entry, name)
        raw = {**raw, "quick_gelu": bool(entry.get("quick_gelu") or raw.get("quick_gelu"))}
        state = read_state(hub.fetch(tokenizer, tag))
    with damaged(f"{name}: its open_clip configuration is damaged", "correct it"):
        vision, text = ({k: v for k, v in raw[f"{t}_cfg"].items() if k not in APART} for t in ("vision", "text"))
        size = image_size or vision.get("image_size", 224)
        vision["image_size"] = [size, size] if isinstance(size, int) else [*size]
        own = {"embed_dim": raw["embed_dim"], "quick_gelu": raw.get("quick_gelu", False), "vision": vision}
        own |= {"text": text, "sigmoid": raw.get("init_logit_bias") is not None, "tokenizer": tokenizer}
    backbone = describe(own, Preprocess(**pixels))
    patch = _patch(_empty(json.dumps(own, sort_keys=True)))
    if image_size is not None and patch is not None:  # the models' own sizes need not be
        check_whole(image_size, patch)
    return Weights(name=name, backbone=backbone, state=_translated(state, backbone, name))


def describe(sizes: Mapping[str, Any], pixels: Preprocess) -> Backbone:
    """A model of open_clip as a backbone.

    Args:
        sizes: `embed_dim`, `vision` and `text`, with open_clip's own fields; `quick_gelu`, whether it has OpenAI's
            activation; `sigmoid`, whether its logits have a bias; `tokenizer`, as `tokenize` takes it.

    Raises `WeightsError`: sizes that no such model has.
    """
    names = ("embed_dim", "quick_gelu", "sigmoid", "vision", "text", "tokenizer")
    own = {name: sizes[name] for name in names}
    E, text, size = own["embed_dim"], own["text"], tuple(own["vision"]["image_size"])
    check_grid(size, 8)
    _check_sizes(own)
    _empty(json.dumps(own, sort_keys=True))
    known = {f.name: text[f.name] for f in fields(TextConfig) if f.name in text and f.name != "pool"}

    def visual(reads: Reads) -> nn.Module:
        return FrameTower(_visual(own), size)

    return Backbone(
        kind="open_clip",
        sizes=own,
        pixels=replace(pixels, size=size),
        width=E,
        layers=1,
        grid=(1, 1),
        prefix_tokens=0,
        embed_dim=E,
        offers=frozenset({"frames"}),
        text=TextConfig(**known, causal=not text.get("no_causal_mask", False)),
        tokenizer=own["tokenizer"],
        sigmoid=own["sigmoid"],
        make_visual=visual,
        make_text=lambda: _text(own),
    )


def _patch(visual: Any) -> tuple[int, int] | None:
    """Rows and columns of a patch in pixels; None: a tower without patches of one size."""
    embed = getattr(getattr(visual, "trunk", None), "patch_embed", visual)
    patch = getattr(embed, "patch_size", None)
    return None if patch is None else (patch[0], patch[1])


def _config(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model or folder; empty where there is none."""
    path = Path(name)
    if path.is_dir():
        return read_object(path / "open_clip_config.json", "model_cfg")
    model, colon, _ = name.partition(":")
    if not colon or path.exists():
        return {}
    import open_clip

    return open_clip.get_model_config(model) or {}


def _translated(state: dict[str, Tensor], backbone: Backbone, source: str) -> dict[str, Tensor]:
    """Our names; positions resampled as open_clip and timm do."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed

    visual = _empty(json.dumps(backbone.sizes, sort_keys=True))
    bias, trunk = state.get("logit_bias"), getattr(visual, "trunk", None)
    with damaged(f"{source} does not hold such a model", "pass its own file"):
        state = to_openai(convert_state_dict(SimpleNamespace(visual=visual), state))
        if trunk is None:
            resize_pos_embed(state, SimpleNamespace(visual=visual))
    if trunk is not None:
        inner = {k.removeprefix("visual.trunk."): state.pop(k) for k in [*state] if k.startswith("visual.trunk.")}
        inner = timm_towers.translated(inner, backbone.sizes["vision"]["timm_model_name"], trunk, source)
        state |= {f"visual.trunk.{k}": v for k, v in inner.items()}
    if backbone.sigmoid:  # what was not trained so starts without one, as in open_clip
        state["logit_bias"] = torch.zeros(()) if bias is None else bias.reshape(())
    return {k.replace("visual.", "visual.tower.", 1): v.float().contiguous() for k, v in state.items()}


def _visual(sizes: Mapping[str, Any]) -> Any:
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    h, w = sizes["vision"]["image_size"]
    config = CLIPVisionCfg(**sizes["vision"] | {"image_size": h if h == w else (h, w)})
    tower = _build_vision_tower(sizes["embed_dim"], config, sizes["quick_gelu"])
    built_for = getattr(getattr(getattr(tower, "trunk", None), "patch_embed", None), "img_size", None)
    if built_for is not None and tuple(built_for) != (h, w):
        tower.set_input_size((h, w))
    return tower


def _text(sizes: Mapping[str, Any]) -> nn.Module:
    from open_clip.model import CLIPTextCfg, _build_text_tower

    tower: nn.Module = _build_text_tower(sizes["embed_dim"], CLIPTextCfg(**sizes["text"]), sizes["quick_gelu"])
    return tower


@lru_cache(maxsize=8)
def _empty(sizes: str) -> Any:
    """The image tower without memory for its weights, once both towers have been built so."""
    with damaged("open_clip cannot build such towers", "choose another image size"), torch.device("meta"):
        _text(json.loads(sizes))
        return _visual(json.loads(sizes))


def _check_sizes(sizes: Mapping[str, Any]) -> None:
    """Types and bounds of every field, before anything is built."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    types = {"quick_gelu": bool, "sigmoid": bool, "embed_dim": int}
    if any(type(sizes[name]) is not kind for name, kind in types.items()):
        raise WeightsError("quick_gelu, sigmoid or embed_dim of an open_clip model is of another type; correct it")
    if not isinstance(sizes["tokenizer"], str):
        raise WeightsError(f"tokenizer is {sizes['tokenizer']!r:.60}; it must be a name of open_clip's")
    closed = {"hf_model_name", "hf_model_pretrained", *APART}
    if not 0 < sizes["embed_dim"] <= MOST_OTHER:
        raise WeightsError(f"embed_dim is {sizes['embed_dim']}; it must be 1 to {MOST_OTHER}")
    for given, config in ((sizes["vision"], CLIPVisionCfg), (sizes["text"], CLIPTextCfg)):
        known = {f.name for f in fields(config)} - closed
        for key, value in given.items():
            if key == "timm_model_name":
                timm_towers.check_model(value)
            elif key not in known or not _good(value, MOST.get(key, MOST_OTHER)):
                raise WeightsError(f"open_clip option {key!r:.60} is {value!r:.60}, which is not followed; correct it")


def _good(value: Any, most: int) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 4 and all(type(v) is int and 0 < v <= most for v in value)
    if isinstance(value, dict):  # of norms and activations
        return value.keys() <= {"eps", "approximate"} and all(_good(v, 1) for v in value.values())
    if isinstance(value, str):
        return re.fullmatch(r"[a-z0-9_]{0,40}", value) is not None
    return value is None or (type(value) in (bool, int, float) and 0 <= value <= most)
