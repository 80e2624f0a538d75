"""Names of Hugging Face's `CLIPModel` and `XCLIPModel`, to and from those of OpenAI and of X-CLIP's release."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from stillmotion.errors import WeightsError

# theirs, ours, stored transposed
_SINGLE = (
    ("logit_scale", "logit_scale", False),
    ("vision_model.embeddings.class_embedding", "visual.class_embedding", False),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight", False),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", False),
    ("vision_model.pre_layrnorm.", "visual.ln_pre.", False),  # their spelling, in CLIPModel
    ("vision_model.pre_layernorm.", "visual.ln_pre.", False),  # and in XCLIPModel
    ("vision_model.post_layernorm.", "visual.ln_post.", False),
    ("visual_projection.weight", "visual.proj", True),
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight", False),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding", False),
    ("text_model.final_layer_norm.", "ln_final.", False),
    ("text_projection.weight", "text_projection", True),
    ("prompts_visual_layernorm.", "prompts_visual_ln.", False),
    ("prompts_visual_projection", "prompts_visual_proj", False),
    ("prompts_generator.layernorm.", "prompts_generator.norm.", False),
    ("prompts_generator.", "prompts_generator.", False),
    ("mit.position_embedding", "mit.positional_embedding", False),
)
_STACKS = (
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("mit.encoder.layers.", "mit.resblocks."),
)
_BLOCK = (
    ("self_attn.", "attn."), ("layer_norm1.", "ln_1."), ("layer_norm2.", "ln_2."), ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."), *((same, same) for same in ("message_attn.", "message_fc.", "message_ln.")),
)  # fmt: skip
_PACKED = re.compile(r"(.*attn\.)([qkv])_proj\.(weight|bias)")


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of `CLIPModel` to OpenAI's, of `XCLIPModel` to X-CLIP's; queries, keys and values are packed.

    Raises `WeightsError`: a tensor of another model, or an attention that is not whole.
    """
    renamed: dict[str, Tensor] = {}
    packed: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):
            continue
        if (found := _renamed(key, 1)) is None:
            raise WeightsError(
                f"tensor {key!r} is not part of a Hugging Face CLIPModel or XCLIPModel; pass the folder of such a model"
            )
        name, transposed = found
        parts = None if name.startswith("prompts_generator.") else _PACKED.fullmatch(name)
        if parts:
            packed.setdefault(f"{parts[1]}in_proj_{parts[3]}", {})[parts[2]] = value
        else:
            renamed[name] = value.T.contiguous() if transposed else value
    for name, rows in packed.items():
        missing = [f"{p}_proj" for p in "qkv" if p not in rows]
        if missing:
            raise WeightsError(f"{name}: the Hugging Face checkpoint lacks {', '.join(missing)}; the file is damaged")
        renamed[name] = torch.cat([rows[p] for p in "qkv"])
    return renamed


def to_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of OpenAI or of X-CLIP's release to `CLIPModel`'s or `XCLIPModel`'s.

    Raises `WeightsError`: a tensor that these models have no place for.
    """
    video = any(".message_fc." in key for key in state)
    misspelt = "vision_model.pre_layrnorm." if video else "vision_model.pre_layernorm."
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if (found := _renamed(key, -1, misspelt)) is None:
            raise WeightsError(f"tensor {key!r} has no place in Hugging Face's models; they hold CLIP and X-CLIP alone")
        name, transposed = found
        if name.endswith(("attn.in_proj_weight", "attn.in_proj_bias")):
            stem, kind = name.rsplit("in_proj_", 1)
            for part, rows in zip("qkv", value.chunk(3)):
                renamed[f"{stem}{part}_proj.{kind}"] = rows.contiguous()
        else:
            renamed[name] = value.T.contiguous() if transposed else value
    return renamed


def _renamed(key: str, step: int, left_out: str = "") -> tuple[str, bool] | None:
    """The other name, along the tables (1) or against them (-1), and whether it is transposed; None: there is none."""
    for stack in _STACKS:
        old, new = stack[::step]
        if key.startswith(old):
            number, _, rest = key[len(old) :].partition(".")
            for part in _BLOCK:
                theirs, ours = part[::step]
                if rest.startswith(theirs):
                    return f"{new}{number}.{ours}{rest[len(theirs) :]}", False
    for *names, transposed in _SINGLE:
        old, new = names[::step]
        if left_out not in names and (key == old or (old.endswith(".") and key.startswith(old))):
            return new + key[len(old) :], transposed
    return None
