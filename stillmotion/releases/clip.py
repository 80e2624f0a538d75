"""CLIP itself, as OpenAI, open_clip and transformers (`CLIPModel`) keep it."""

import math
from typing import Any

from torch import Tensor

from stillmotion.backbones.config import CLIPConfig, TextConfig, VisionConfig
from stillmotion.errors import WeightsError
from stillmotion.methods import Method, ZeroShot
from stillmotion.releases.base import Official, Release, State
from stillmotion.weights.hugging_face import to_hugging_face
from stillmotion.weights.names import OPENAI, from_openai, to_openai, translate


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read OpenAI's, open_clip's or Hugging Face's names."""
    state = to_openai(checkpoint)
    return Official(ZeroShot(**options), state, from_openai(state))


def write(method: Method, state: State) -> dict[str, Any]:
    """Write OpenAI's names."""
    return {"state_dict": translate(state, OPENAI, back=True)}


def clip_model(method: Method, state: State, clip_config: CLIPConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write a `CLIPModel`."""
    return config(clip_config), to_hugging_face(translate(state, OPENAI, back=True))


def config(clip: CLIPConfig) -> dict[str, Any]:
    """Write the sizes of a CLIP as the `config.json` of a `CLIPModel`.

    Raises `WeightsError`: sizes that `CLIPModel` cannot have.
    """
    vision, text = clip.vision, clip.text
    if text is None or vision.image_size[0] != vision.image_size[1] or vision.layer_scale or vision.pool != "class":
        raise WeightsError(
            "Hugging Face's CLIPModel has two towers, square images and no layer scale; this model has not"
        )
    common = {"hidden_act": clip.activation, "projection_dim": clip.embed_dim, "layer_norm_eps": 1e-5}
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": clip.embed_dim,
        "logit_scale_init_value": math.log(1 / 0.07),
        "text_config": common | _sizes(text) | {
            "vocab_size": text.vocab_size, "max_position_embeddings": text.context_length,
            # The first token with the largest id ends a prompt; with this id transformers looks for it in that way.
            "eos_token_id": 2,
        },
        "vision_config": common | _sizes(vision) | {
            "image_size": vision.image_size[0], "patch_size": vision.patch_size,
        },
    }  # fmt: skip


def _sizes(tower: VisionConfig | TextConfig) -> dict[str, Any]:
    sizes = {"hidden_size": tower.width, "intermediate_size": tower.mlp_width}
    return sizes | {"num_hidden_layers": tower.layers, "num_attention_heads": tower.heads}


OPTIONS = {
    "num_frames": "frames of a view; None: as the recipe zero_shot reads, which is said",
    "templates": "prompts for a class name, each with a {}; None: the bare name",
}
RELEASE = Release(read, write, "zero_shot", OPTIONS, clip_model)
