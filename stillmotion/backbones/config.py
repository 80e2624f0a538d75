"""Sizes of CLIP models: from open_clip's published list, or read off the tensors of a checkpoint."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from stillmotion.backbones.bounds import check_grid, check_sizes, check_whole
from stillmotion.errors import WeightsError, damaged, did_you_mean

OPENAI_HEAD_WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Sizes of an image tower; the defaults are ViT-B/16's. `image_size` is (height, width) in pixels."""

    image_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    layer_scale: bool = False
    ln_pre: bool = True
    pool: Literal["class", "mean"] = "class"

    def __post_init__(self) -> None:
        check_sizes(self)
        check_grid(self.image_size, self.patch_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows and columns."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Sizes of a text tower; the defaults are ViT-B/16's."""

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp_width: int = 2048
    layer_scale: bool = False
    causal: bool = True
    pool: Literal["argmax", "last", "eos"] = "argmax"
    eos_id: int = 2

    def __post_init__(self) -> None:
        check_sizes(self)


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """Sizes of a CLIP model. `text` is None for an image tower alone.

    `tokenizer` is an open_clip model name, or `local-dir:` and an open_clip model folder with its own tokenizer. Sizes
    of another type or out of bounds raise `WeightsError`, here as in the towers.
    """

    embed_dim: int = 512
    vision: VisionConfig = VisionConfig()
    text: TextConfig | None = TextConfig()
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    tokenizer: str = "ViT-B-16"

    def __post_init__(self) -> None:
        check_sizes(self)

    @classmethod
    def published(cls, name: str) -> "CLIPConfig":
        """Return the sizes of one of open_clip's ViT models of its `CLIP` class, by its name there.

        Raises `WeightsError`: no such model, or one that is not a plain two-tower ViT.
        """
        import open_clip

        raw = open_clip.get_model_config(name)
        if raw is None:
            raise WeightsError(f"open_clip has no model {name!r}{did_you_mean(name, open_clip.list_models())}")
        return cls.from_open_clip(raw, tokenizer=name)

    @classmethod
    def from_open_clip(cls, raw: Mapping[str, Any], tokenizer: str = "ViT-B-16") -> "CLIPConfig":
        """Translate one of open_clip's JSON model configurations.

        Raises `WeightsError`: it is of another class, damaged or out of bounds.
        """
        from open_clip.model import CLIPTextCfg, CLIPVisionCfg

        with damaged(f"{tokenizer}: its open_clip configuration is damaged", "correct it"):
            if why := unsupported(raw):
                raise WeightsError(
                    f"{tokenizer}: {why}; stillmotion has the ViT towers of open_clip's CLIP class, e.g. ViT-B-16"
                )
            vision = vars(CLIPVisionCfg()) | raw.get("vision_cfg", {})
            text = vars(CLIPTextCfg()) | raw.get("text_cfg", {})
            size = vision["image_size"]
            return cls(
                embed_dim=raw["embed_dim"],
                activation="quick_gelu" if raw.get("quick_gelu") else "gelu",
                tokenizer=tokenizer,
                vision=VisionConfig(
                    **_blocks_of(vision),
                    image_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
                    patch_size=vision["patch_size"],
                    heads=vision["width"] // vision["head_width"],
                    ln_pre=not vision["no_ln_pre"],
                    pool="mean" if vision["pool_type"] == "avg" else "class",
                ),
                text=TextConfig(
                    **_blocks_of(text),
                    **{name: text[name] for name in ("context_length", "vocab_size", "heads", "eos_id")},
                    causal=not text["no_causal_mask"],
                    pool=text["pool_type"],
                ),
            )

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        image_size: int | tuple[int, int] | None = None,
        vision_heads: int | None = None,
        text_heads: int | None = None,
        activation: Literal["quick_gelu", "gelu"] = "quick_gelu",
    ) -> "CLIPConfig":
        """Read the sizes off a state dict with OpenAI's names; its text half may be absent.

        Heads (64 wide unless given), a non-square image size and the activation leave no trace in the tensors. Raises
        `WeightsError`: the image tower is absent, a tensor that shows a size is absent or of another rank, or the
        position table does not fit the image size.
        """
        if "visual.conv1.weight" not in state:
            raise WeightsError(
                "no tensor 'visual.conv1.weight': this is not a CLIP ViT state dict with OpenAI's names; "
                "pass an OpenAI, open_clip or Hugging Face CLIP checkpoint"
            )
        width, _, _, patch = _shape(state, "visual.conv1.weight", 4)
        patches = _shape(state, "visual.positional_embedding", 2)[0] - 1
        vision = VisionConfig(
            image_size=_image_size(image_size, patches, patch),
            patch_size=patch,
            ln_pre="visual.ln_pre.weight" in state,
            **_blocks_in(state, "visual.", width, vision_heads),
        )
        text = None
        if "positional_embedding" in state:
            context, text_width = _shape(state, "positional_embedding", 2)
            table = "token_embedding.weight"
            text = TextConfig(
                context_length=context,
                vocab_size=_shape(state, table, 2)[0] if table in state else 49408,
                **_blocks_in(state, "", text_width, text_heads),
            )
        embed_dim = _shape(state, "visual.proj", 2)[1] if "visual.proj" in state else width
        return cls(embed_dim=embed_dim, vision=vision, text=text, activation=activation)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], source: str = "the description of the backbone") -> "CLIPConfig":
        """Rebuild a configuration from `to_dict`.

        Raises `WeightsError`: a size is absent, unknown, of another type or out of bounds; `source` is named.
        """
        try:
            vision = {**raw["vision"], "image_size": tuple(raw["vision"]["image_size"])}
            text = None if raw["text"] is None else TextConfig(**raw["text"])
            return cls(**{**raw, "vision": VisionConfig(**vision), "text": text})
        except (LookupError, TypeError, AttributeError, WeightsError) as error:
            reason = error if isinstance(error, WeightsError) else repr(error)
            raise WeightsError(f"{source} has damaged sizes ({reason}); train or convert it again") from error

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)

    def at(self, image_size: int | tuple[int, int]) -> "CLIPConfig":
        """Return the same model for another input size; its position table must then be interpolated.

        Raises `WeightsError`: the size is no whole number of patches, or has too many.
        """
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_grid(size, self.vision.patch_size)
        check_whole(size, (self.vision.patch_size, self.vision.patch_size))
        return replace(self, vision=replace(self.vision, image_size=size))


def _image_size(asked: int | tuple[int, int] | None, patches: int, patch: int) -> tuple[int, int]:
    if asked is None:
        side = math.isqrt(patches)
        if side * side != patches:
            raise WeightsError(
                f"the position table has {patches} patches, not a square grid; pass image_size=(height, width)"
            )
        return side * patch, side * patch
    size = (asked, asked) if isinstance(asked, int) else asked
    if (size[0] // patch) * (size[1] // patch) != patches:
        raise WeightsError(
            f"image size {size} makes {size[0] // patch}x{size[1] // patch} patches of {patch} pixels, the position "
            f"table has {patches}; pass the size that the weights were trained at"
        )
    return size


def _blocks_of(tower: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of the blocks of a tower, by open_clip's names."""
    sizes = {"width": tower["width"], "layers": tower["layers"]}
    mlp_width = int(tower["width"] * tower["mlp_ratio"])
    return sizes | {"mlp_width": mlp_width, "layer_scale": tower["ls_init_value"] is not None}


def _blocks_in(state: Mapping[str, Tensor], prefix: str, width: int, heads: int | None) -> dict[str, Any]:
    """Sizes of the blocks of a tower, by its tensors."""
    start = f"{prefix}transformer.resblocks."
    numbers = {key[len(start) :].split(".")[0] for key in state if key.startswith(start)}
    odd = numbers - {str(i) for i in range(len(numbers))}
    if odd or not numbers:
        found = f"one of {reprlib.repr(min(odd))}" if odd else "none"
        raise WeightsError(
            f"the blocks of {start[:-1]} must be numbered from 0 without a gap, there is {found} among {len(numbers)}; "
            "pass a whole checkpoint"
        )
    mlp_width = _shape(state, f"{start}0.mlp.c_fc.weight", 2)[0]
    sizes = {"width": width, "layers": len(numbers), "heads": heads or width // OPENAI_HEAD_WIDTH}
    return sizes | {"mlp_width": mlp_width, "layer_scale": f"{start}0.ls_1.gamma" in state}


def _shape(state: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    shape = tuple(state[name].shape) if name in state else ()
    if len(shape) != rank or 0 in shape:
        found = f"it has shape {shape}" if name in state else "it is absent"
        raise WeightsError(f"tensor {name!r} shows a size by its {rank} axes, {found}; pass a whole CLIP checkpoint")
    return shape


def unsupported(raw: Mapping[str, Any]) -> str | None:
    """Why an open_clip configuration is not of two towers of CLIP's own; None: it is."""
    vision, text = raw.get("vision_cfg", {}), raw.get("text_cfg", {})
    if "timm_model_name" in vision or not isinstance(vision.get("layers", 12), int):
        return "its image tower is not open_clip's own ViT"
    if "hf_model_name" in text or raw.get("custom_text") or "multimodal_cfg" in raw:
        return "its text tower is not CLIP's"
    odd = {"attentional_pool", "qk_norm", "scale_heads", "scale_attn", "scale_fc", "scaled_cosine_attn"}
    odd |= {"norm_kwargs", "act_kwargs", "embed_cls", "proj_bias", "proj_type"}
    used = sorted(k for cfg in (vision, text) for k, v in cfg.items() if k in odd and v)
    if used:
        return f"it uses {', '.join(used)}"
    if vision.get("pool_type", "tok") == "avg" and not vision.get("final_ln_after_pool"):
        return "it averages tokens after the last norm"
    if text.get("pool_type", "argmax") not in ("argmax", "last", "eos"):
        return f"its text pooling is {text['pool_type']!r}"
    return None
