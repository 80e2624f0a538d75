"""V-JEPA 2 of transformers as a frozen video backbone: `vjepa2:FOLDER` or `vjepa2:facebook/vjepa2-vitl-fpc64-256`.

Its encoder alone is read, from a `VJEPA2Model` or a `VJEPA2ForVideoClassification`; two frames make one step of time,
and its tokens know the order of steps by rotary positions.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone, check_video
from stillmotion.backbones.bounds import check_grid, check_whole
from stillmotion.backbones.weights import Weights
from stillmotion.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from stillmotion.errors import WeightsError, missing
from stillmotion.models.features import Features, Reads, resolve
from stillmotion.weights import hub
from stillmotion.weights.folders import pixel_settings, read_object, read_sharded

# What of a configuration the encoder is built from: the type and the largest value of each; transformers' own defaults.
SIZES: dict[str, tuple[Any, float]] = {
    "crop_size": (256, 8192), "patch_size": (16, 1024), "tubelet_size": (2, 16), "hidden_size": (1024, 16384),
    "num_attention_heads": (16, 1024), "num_hidden_layers": (24, 200), "mlp_ratio": (4.0, 64), "qkv_bias": (True, 1),
    "layer_norm_eps": (1e-6, 1),
}  # fmt: skip


class TubeletTower(nn.Module):
    """The encoder. `out.i` are the tokens behind block i without the final norm, those of the last block too.

    `frames` are the means over a step's tokens behind the final norm, one for each `time_stride` frames.

    Args:
        encoder: of transformers.
        backbone: what it is.
        reads: the outputs to give; blocks and norms that none of them needs are taken out.
    """

    def __init__(self, encoder: Any, backbone: Backbone, reads: Reads):
        super().__init__()
        self.encoder, self.frames, self.out = encoder, reads.frames, {*resolve(reads.out, backbone.layers)}
        self.image_size, self.grid, self.prefix_tokens = backbone.pixels.size, backbone.grid, 0
        self.steps = backbone.steps
        if not reads.frames:
            encoder.layer, encoder.layernorm = encoder.layer[: max(self.out) + 1], nn.Identity()

    def forward(self, video: Tensor) -> Features:
        """Encode a normalized (B, T, 3, H, W) video.

        Raises `StillmotionError`: frames that make no whole number of steps.
        """
        check_video(video, self.image_size)
        steps, x, found = self.steps(video.shape[1]), self.encoder.embeddings(video), Features()
        for i, layer in enumerate(self.encoder.layer):
            x = layer(x, None)[0]
            if i in self.out:
                found[f"out.{i}"] = x.unflatten(1, (steps, -1))
        if self.frames:
            found["frames"] = self.encoder.layernorm(x).unflatten(1, (steps, -1)).mean(dim=2)
        return found


def load(name: str, image_size: tuple[int, int] | None, sizes: Mapping[str, Any]) -> Weights:
    """Find and read weights of a folder that `save_pretrained` wrote, or of a repository of the hub.

    Raises `WeightsError`: they cannot be found, read or matched.
    """
    folder = Path(name).expanduser()
    found = f"vjepa2:{folder.absolute()}" if folder.is_dir() else f"vjepa2:{name}"
    folder = folder if folder.is_dir() else hub.snapshot(name)
    config = read_object(folder / "config.json")
    if config.get("model_type") != "vjepa2":
        raise WeightsError(f"{found} is a model of type {config.get('model_type')!r:.60}; pass one of type vjepa2")
    own = {key: config.get(key, default) for key, (default, _) in SIZES.items()}
    if image_size is not None:
        if image_size[0] != image_size[1]:
            raise WeightsError(f"image size is {image_size}; V-JEPA 2 reads squares: pass one side")
        own["crop_size"] = image_size[0]
        if type(patch := own["patch_size"]) is int and patch > 0:  # else `describe` says so
            check_whole(image_size, (patch, patch))
    pixels: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    for file in ("preprocessor_config.json", "video_preprocessor_config.json"):
        pixels |= pixel_settings(read_object(folder / file), str(folder / file), "image_")
    state = {key.removeprefix("vjepa2."): value for key, value in read_sharded(folder).items()}
    return Weights(
        name=found,
        backbone=describe(own, Preprocess(**pixels, interpolation="bilinear")),
        state={f"visual.{k}": v.float().contiguous() for k, v in state.items() if k.startswith("encoder.")},
    )


def describe(sizes: Mapping[str, Any], pixels: Preprocess) -> Backbone:
    """A V-JEPA 2 encoder as a backbone.

    Args:
        sizes: the fields of transformers' `VJEPA2Config` that `SIZES` names.

    Raises `WeightsError`: sizes that no such encoder has.
    """
    own = {key: sizes[key] for key in SIZES}
    for key, (default, most) in SIZES.items():
        good = type(own[key]) is type(default) or (isinstance(default, float) and type(own[key]) is int)
        if not good or not (isinstance(default, bool) or 0 < own[key] <= most):
            raise WeightsError(f"{key} is {own[key]!r:.60}; it must be a {type(default).__name__}, at most {most}")
    side, patch, width = own["crop_size"], own["patch_size"], own["hidden_size"]
    check_grid((side, side), patch)
    if side % patch or width % own["num_attention_heads"]:
        raise WeightsError(
            f"crop_size {side} is no multiple of patch_size {patch}, or hidden_size {width} of "
            f"{own['num_attention_heads']} heads; choose another image size"
        )
    backbone = Backbone(
        kind="vjepa2",
        sizes=own,
        pixels=replace(pixels, size=(side, side)),
        width=width,
        layers=own["num_hidden_layers"],
        grid=(side // patch, side // patch),
        prefix_tokens=0,
        time_stride=own["tubelet_size"],
        embed_dim=width,
        offers=frozenset({"frames", "out"}),
        make_visual=lambda reads: TubeletTower(_encoder(own), backbone, reads),
    )
    return backbone


def _encoder(sizes: Mapping[str, Any]) -> nn.Module:
    try:
        from transformers import VJEPA2Config
        from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2Encoder
    except ImportError as error:
        raise missing("transformers", "a backbone of kind vjepa2", WeightsError) from error
    encoder: nn.Module = VJEPA2Encoder(VJEPA2Config(**sizes, attn_implementation="sdpa"))
    return encoder
