"""timm's image towers: DINOv2 and v3, SigLIP 2, PE-Core, EVA, plain ViTs; for pooled embeddings any model of timm.

timm:NAME                weights of the hub, NAME with or without a tag (vit_base_patch16_siglip_224.webli)
timm:NAME:FILE           a local file with timm's names, or a folder that holds one
timm:FOLDER              a folder in timm's own layout: config.json and model.safetensors
"""

import difflib
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone, check_video
from stillmotion.backbones.bounds import check_grid, check_whole
from stillmotion.backbones.weights import Weights
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError, damaged, did_you_mean
from stillmotion.models.affinity import affinities
from stillmotion.models.class_attention import Note
from stillmotion.models.features import Features, Reads, resolve
from stillmotion.weights import hub
from stillmotion.weights.folders import pixel_settings, read_object, read_sharded
from stillmotion.weights.readers import read_state

LARGEST_PATCHES, LARGEST_BUFFERS = 65536, 1 << 28
KEPT = ("mean", "std", "interpolation", "input_size")  # what a folder says of its pixels
# Arguments of timm's constructors that a folder may set, and the largest number of each.
ARGUMENTS: dict[str, int] = {
    "depth": 200, "embed_dim": 16384, "num_heads": 1024, "mlp_ratio": 64, "patch_size": 1024, "reg_tokens": 1024,
    "init_values": 100, "num_reg_tokens": 1024, "class_token": 1, "global_pool": 0, "qkv_bias": 1,
    "dynamic_img_size": 1,
}  # fmt: skip


class TimmTower(nn.Module):
    """A tower of timm, applied to every frame. Its own modules compute everything; nothing is folded or replaced.

    `frames` are timm's pooled embeddings (`forward_head(..., pre_logits=True)`), `out.i` all tokens behind block i
    without the final norm, prefix tokens first, as `forward_intermediates` has them.

    Args:
        tower: the model without its classifier.
        backbone: what it is.
        reads: the outputs to give; modules that none of them needs are taken out.
    """

    by_frame = True

    def __init__(self, tower: Any, backbone: Backbone, reads: Reads):
        super().__init__()
        self.tower = tower
        self.frames, self.image_size, self.grid = reads.frames, backbone.pixels.size, backbone.grid
        self.prefix_tokens, self.reads = backbone.prefix_tokens, frozenset(reads.names(backbone.layers))
        self.class_token = getattr(tower, "cls_token", None) is not None and "affinity" in backbone.offers
        self.out, self.affinity = (sorted({*resolve(r, backbone.layers)}) for r in (reads.out, reads.affinity))
        self.blocks = sorted({*self.out, *self.affinity})
        if not self.frames:
            self.tower.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)

    def forward(self, video: Tensor) -> Features:
        """Encode a normalized (B, T, 3, H, W) video."""
        check_video(video, self.image_size)
        x, shape, found = video.flatten(0, 1), video.shape[:2], Features()
        with ExitStack() as hooks:
            for i in self.affinity:
                note = partial(self._affinity, found, i, shape)
                hooks.enter_context(self.tower.blocks[i].attn.register_forward_pre_hook(note, with_kwargs=True))
            if not self.blocks:
                x = self.tower.forward_features(x)
            else:
                only = {"stop_early": not self.frames, "intermediates_only": not self.frames}
                only["return_prefix_tokens"] = self.prefix_tokens > 0
                given = self.tower.forward_intermediates(x, indices=self.blocks, norm=False, output_fmt="NLC", **only)
                x, middle = given if self.frames else (x, given)
                for i, tokens in zip(self.blocks, middle, strict=True):
                    if i in self.out:  # with prefix tokens, timm gives (patches, prefix)
                        tokens = torch.cat(tokens[::-1], dim=1) if isinstance(tokens, tuple) else tokens
                        found[f"out.{i}"] = tokens.unflatten(0, shape)
        if self.frames:
            found["frames"] = self.tower.forward_head(x, pre_logits=True).unflatten(0, shape)
        return found

    def observe(self, video: Tensor, note: Note) -> Features:
        """Encode a video, and show `note` the attention of every block, without the values."""
        caller, shape = get_ident(), video.shape[:2]

        def show(i: int, attn: Any, inputs: tuple[Tensor], more: dict[str, Any]) -> None:
            if get_ident() == caller:  # another thread may run the same modules meanwhile
                q, k = queries_and_keys(attn, inputs[0], more.get("rope"), self.prefix_tokens)
                note(i, q.unflatten(0, shape), k.unflatten(0, shape), None)

        with ExitStack() as hooks:
            for i, block in enumerate(self.tower.blocks):
                hooks.enter_context(block.attn.register_forward_pre_hook(partial(show, i), with_kwargs=True))
            return self(video)

    def _affinity(
        self, found: Features, i: int, shape: torch.Size, attn: Any, inputs: tuple[Tensor], more: dict[str, Any]
    ) -> None:
        prefix = self.prefix_tokens
        q, k = (t[:, :, prefix:] for t in queries_and_keys(attn, inputs[0], more.get("rope"), prefix))
        found |= affinities(f"affinity.{i}", q.unflatten(0, shape), k.unflatten(0, shape), self.reads)


def queries_and_keys(attn: Any, x_BLD: Tensor, rope: Tensor | None, prefix: int) -> tuple[Tensor, Tensor]:
    """Unscaled queries and keys, (B, H, L, d), by the attention's own modules from its own input.

    Rotary positions turn the patches alone, which come behind `prefix` other tokens.
    """
    from timm.layers import apply_rot_embed_cat

    n = attn.num_heads * attn.head_dim
    if attn.qkv is None:
        pair = (attn.q_proj(x_BLD), attn.k_proj(x_BLD))
    else:
        bias = attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:
            bias = torch.cat([attn.q_bias, attn.k_bias])
        pair = F.linear(x_BLD, attn.qkv.weight[: 2 * n], None if bias is None else bias[: 2 * n]).split(n, dim=-1)
    heads = [x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in pair]
    q_BHLd, k_BHLd = attn.q_norm(heads[0]), attn.k_norm(heads[1])
    if rope is None:
        return q_BHLd, k_BHLd

    def turned(x: Tensor) -> Tensor:
        patches = apply_rot_embed_cat(x[:, :, prefix:], rope, half=attn.rotate_half).type_as(x)
        return torch.cat([x[:, :, :prefix], patches], dim=2)

    return turned(q_BHLd), turned(k_BHLd)


def describe(sizes: Mapping[str, Any], pixels: Preprocess) -> Backbone:
    """A model of timm as a backbone.

    Args:
        sizes: `model`, its name without a tag; `image_size`, (height, width); `args`, options of its constructor.

    Raises `WeightsError`: no such model, or sizes that it cannot have; nothing of that size is built.
    """
    model, size, args = sizes["model"], sizes["image_size"], sizes.get("args", {})
    _check_sizes(model, size, args)
    tower, size = _empty(model, tuple(size), tuple(sorted(args.items()))), (size[0], size[1])
    is_vit = _is_vit(tower)
    grid = tuple(tower.patch_embed.grid_size) if is_vit else (1, 1)
    if not 0 < grid[0] * grid[1] <= LARGEST_PATCHES or sum(b.numel() for b in tower.buffers()) > LARGEST_BUFFERS:
        raise WeightsError(f"{model} has {grid[0]}x{grid[1]} patches at {size} pixels; choose another image size")
    if is_vit and not tower.patch_embed.strict_img_size:
        check_whole(size, tower.patch_embed.patch_size)
    offers = {"frames", *(("out",) if is_vit else ())}
    if is_vit and all(_has_queries_and_keys(block) for block in tower.blocks):
        offers.add("affinity")

    def visual(reads: Reads) -> nn.Module:
        return TimmTower(_build(model, size, args), backbone, reads)

    backbone = Backbone(
        kind="timm",
        sizes={"model": model, "image_size": [*size], "args": dict(args)},
        pixels=replace(pixels, size=size),
        width=tower.embed_dim if is_vit else tower.head_hidden_size,
        layers=len(tower.blocks) if is_vit else 1,
        grid=grid,
        prefix_tokens=tower.num_prefix_tokens if is_vit else 0,
        embed_dim=tower.head_hidden_size,
        offers=frozenset(offers),
        make_visual=visual,
    )
    return backbone


def load(name: str, image_size: tuple[int, int] | None, sizes: Mapping[str, Any]) -> Weights:
    """Find and read weights of timm: see the module's table.

    Raises `WeightsError`: no such model, or weights that cannot be found, read or matched.
    """
    import timm
    from timm.data import resolve_data_config

    model, _, place = name.removeprefix("timm/").partition(":")
    if not place and not timm.is_model(model) and Path(model).is_dir():
        model, place = "", model
    path = Path(place).expanduser().absolute() if place else None
    settings = read_object(path / "config.json") if path and path.is_dir() else {}
    model = model or str(settings.get("architecture", ""))
    architecture, _, tag = model.partition(".")
    check_model(architecture)
    try:
        config = timm.get_pretrained_cfg(model, allow_unregistered=False).to_dict()
    except (RuntimeError, AttributeError) as error:  # a tag that it does not have
        tags = [t.partition(".")[2] for t in timm.list_pretrained(f"{architecture}.*")]
        raise WeightsError(f"{architecture} has no weights {tag[:100]!r}{did_you_mean(tag[:100], tags)}") from error
    found = f"timm:{model}:{path}" if path else f"timm:{model}"
    said, args = settings.get("pretrained_cfg", {}), settings.get("model_args", {})
    if not isinstance(said, dict) or not isinstance(args, dict) or not isinstance(said.get("input_size", []), list):
        raise WeightsError(f"{path} has a damaged config.json; fetch it again")
    read = resolve_data_config(pretrained_cfg=config) | {k: said[k] for k in KEPT if said.get(k) is not None}
    size = image_size or args.get("img_size") or read["input_size"][1:]
    args = {k: v for k, v in args.items() if k not in ("img_size", "num_classes", "in_chans")}
    pixels = Preprocess(**pixel_settings(read, str(path or found)))
    sides = [size, size] if isinstance(size, int) else size
    backbone = describe({"model": architecture, "image_size": sides, "args": args}, pixels)
    tower = _empty(architecture, backbone.pixels.size, tuple(sorted(args.items())))
    if image_size is not None and _is_vit(tower):  # the models' own sizes need not be
        check_whole(image_size, tower.patch_embed.patch_size)
    state = translated(_state(model, config, path), architecture, tower, found)
    heads = config.get("classifier") or ()
    dropped = [f"{head}." for head in ((heads,) if isinstance(heads, str) else heads)]
    if _is_vit(tower) and tower.attn_pool is None:
        dropped.append("attn_pool.")
    kept = {f"visual.tower.{k}": v.float().contiguous() for k, v in state.items() if not k.startswith(tuple(dropped))}
    return Weights(name=found, backbone=backbone, state=kept)


def _state(model: str, config: Mapping[str, Any], path: Path | None) -> dict[str, Tensor]:
    if path is not None:
        return read_sharded(path) if path.is_dir() else read_state(path)
    mend = f"pass a local file: timm:{model}:FILE"
    if not config.get("hf_hub_id"):
        raise WeightsError(f"timm:{model} has no weights on the hub; {mend}")
    names = [config["hf_hub_filename"]] if config.get("hf_hub_filename") else ["model.safetensors", "pytorch_model.bin"]
    return read_state(hub.hub_file(config["hf_hub_id"], names, mend))


def translated(state: dict[str, Tensor], model: str, tower: nn.Module, source: str) -> dict[str, Tensor]:
    """Tensors of a file with timm's current names, positions resampled for a tower: what timm itself does at loading.

    Raises `WeightsError`: they are of something else.
    """
    import timm

    translate = getattr(sys.modules[timm.model_entrypoint(model).__module__], "checkpoint_filter_fn", None)
    with damaged(f"{source} does not hold weights of {model}", "pass its own file"):
        found: dict[str, Tensor] = translate(state, tower) if translate else state
    return found


def _build(model: str, size: tuple[int, int], args: Mapping[str, Any]) -> Any:
    import timm

    sized = {"img_size": size} if timm.get_pretrained_cfg_value(model, "fixed_input_size") else {}
    tower = timm.create_model(model, pretrained=False, num_classes=0, **sized, **args)
    if not sized and _is_vit(tower):
        tower.set_input_size(img_size=size)
    return tower


@lru_cache(maxsize=8)
def _empty(model: str, size: tuple[int, int], args: tuple[tuple[str, Any], ...]) -> Any:
    """The model without memory for its weights."""
    with damaged(f"{model} cannot be built at {size} pixels", "choose another size"), torch.device("meta"):
        return _build(model, size, dict(args))


def _is_vit(tower: nn.Module) -> bool:
    from timm.models import Eva, VisionTransformer

    return isinstance(tower, (VisionTransformer, Eva))


def _has_queries_and_keys(block: nn.Module) -> bool:
    from timm.layers import Attention, AttentionRope
    from timm.models.eva import EvaAttention

    attn: Any = getattr(block, "attn", None)
    known = type(attn) in (Attention, AttentionRope, EvaAttention)
    return known and attn.scale == attn.head_dim**-0.5 and getattr(attn, "num_kv_groups", 1) == 1


def check_model(model: Any) -> None:
    """Refuse what is no name of a model of timm, without a tag. Raises `WeightsError`: with the nearest names."""
    import timm

    if not isinstance(model, str) or not re.fullmatch(r"[a-z0-9_]{1,100}", model) or not timm.is_model(model):
        near = difflib.get_close_matches(str(model)[:100], timm.list_models(), 3, 0.5)
        hint = did_you_mean(str(model)[:100], near) or "; timm.list_models() in Python lists its names"
        raise WeightsError(f"timm has no model {str(model)[:100]!r}{hint}")


def _check_sizes(model: Any, size: Any, args: Any) -> None:
    """Types and bounds, before anything is built."""
    check_model(model)
    check_grid(size, 8)  # smaller patches are counted once the grid is known
    for key, value in dict(args).items():
        if key not in ARGUMENTS:
            raise WeightsError(f"timm option {key!r:.60} is not followed here{did_you_mean(str(key)[:60], ARGUMENTS)}")
        word = key == "global_pool" and value in ("", "avg", "token", "map")
        if not word and not (type(value) in (int, float, bool) and 0 <= value <= ARGUMENTS[key]):
            raise WeightsError(f"timm option {key} is {value!r:.60}; it must be a number, 0 to {ARGUMENTS[key]}")
