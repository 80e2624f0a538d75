"""Foreign parameter names, translated at the edge; inside, every CLIP tensor has OpenAI's name."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stillmotion.errors import WeightsError

# Scalars and buffers of old checkpoints that carry no weights.
IGNORED = ("input_resolution", "context_length", "vocab_size", "logit_bias")


def from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names to those of a `VideoCLIP`: the text tower moves under `text.`, the temperature to the head."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("visual."):
            renamed[key] = value
        elif key == "logit_scale":
            renamed["head.logit_scale"] = value
        else:
            renamed[f"text.{key}"] = value
    return renamed


def to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of OpenAI, open_clip (both of its layouts) or Hugging Face to OpenAI's; anything else is kept as it is."""
    state = {k.removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if any(k.startswith("vision_model.") for k in state):
        return _from_hugging_face(state)
    renamed = {}
    for key, value in state.items():
        if key in IGNORED or key.endswith(("position_ids", "attn_mask")):
            continue
        renamed[key.removeprefix("text.")] = value
    if "logit_scale" in renamed:
        renamed["logit_scale"] = renamed["logit_scale"].reshape(())
    return renamed


def _from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    packed: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):
            continue
        if key in _HUGGING_FACE:
            name, transposed = _HUGGING_FACE[key]
            renamed[name] = value.T.contiguous() if transposed else value
            continue
        tower, _, rest = key.partition("_model.encoder.layers.")
        if tower not in ("vision", "text") or not rest:
            raise WeightsError(f"tensor {key!r} is not part of a Hugging Face CLIPModel; pass that model's folder")
        number, rest = rest.split(".", 1)
        block = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{number}."
        if rest.startswith("self_attn.") and rest[10] in "qkv":
            packed.setdefault(f"{block}attn.in_proj_{rest.split('.')[-1]}", {})[rest[10]] = value
        else:
            for theirs, ours in _HUGGING_FACE_BLOCK.items():
                rest = rest.replace(theirs, ours)
            renamed[block + rest] = value
    for name, parts in packed.items():
        missing = [f"{p}_proj" for p in "qkv" if p not in parts]
        if missing:
            raise WeightsError(f"{name}: the Hugging Face checkpoint lacks {', '.join(missing)}; the file is damaged")
        renamed[name] = torch.cat([parts[p] for p in "qkv"])
    return renamed


_HUGGING_FACE = {
    "logit_scale": ("logit_scale", False),
    "vision_model.embeddings.class_embedding": ("visual.class_embedding", False),
    "vision_model.embeddings.patch_embedding.weight": ("visual.conv1.weight", False),
    "vision_model.embeddings.position_embedding.weight": ("visual.positional_embedding", False),
    "vision_model.pre_layrnorm.weight": ("visual.ln_pre.weight", False),  # their spelling
    "vision_model.pre_layrnorm.bias": ("visual.ln_pre.bias", False),
    "vision_model.post_layernorm.weight": ("visual.ln_post.weight", False),
    "vision_model.post_layernorm.bias": ("visual.ln_post.bias", False),
    "visual_projection.weight": ("visual.proj", True),
    "text_model.embeddings.token_embedding.weight": ("token_embedding.weight", False),
    "text_model.embeddings.position_embedding.weight": ("positional_embedding", False),
    "text_model.final_layer_norm.weight": ("ln_final.weight", False),
    "text_model.final_layer_norm.bias": ("ln_final.bias", False),
    "text_projection.weight": ("text_projection", True),
}
_HUGGING_FACE_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
