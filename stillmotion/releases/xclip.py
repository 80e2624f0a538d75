"""X-CLIP's release, and `XCLIPModel` of transformers: both hold all of CLIP."""

from typing import Any

from torch import Tensor

from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import WeightsError
from stillmotion.methods.xclip import XCLIP
from stillmotion.releases.base import Official, Release, State
from stillmotion.releases.clip import config
from stillmotion.weights import hugging_face
from stillmotion.weights.names import OPENAI, count_parts, translate

NAMES = (
    ("visual.", "visual."),
    ("mit.", "temporal."),
    ("prompts_visual_ln.", "head.ln."),
    ("prompts_visual_proj", "head.proj"),
    ("prompts_generator.", "head."),
    *OPENAI[1:],
)


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read a checkpoint of the release, or of Hugging Face's `XCLIPModel`."""
    theirs = any(key.startswith("vision_model.") for key in checkpoint)
    state = hugging_face.from_hugging_face(checkpoint) if theirs else checkpoint
    if "mit.positional_embedding" not in state or "prompts_generator.alpha" not in state:
        raise WeightsError(
            "no 'mit.positional_embedding' and 'prompts_generator.alpha': this is not a checkpoint of X-CLIP"
        )
    ours = translate(state, NAMES)
    shown = {
        "num_frames": ours["temporal.positional_embedding"].shape[1],
        "mit_layers": count_parts(ours, "temporal.resblocks."),
        "prompt_layers": count_parts(ours, "head.decoder."),
    }
    return Official(XCLIP(**options | shown), state, ours)


def write(method: XCLIP, state: State) -> dict[str, Any]:
    """Write all of it."""
    return {"model": translate(state, NAMES, back=True)}


def to_hugging_face(method: XCLIP, state: State, clip_config: CLIPConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write an `XCLIPModel`."""
    content = config(clip_config) | {"model_type": "xclip", "architectures": ["XCLIPModel"]}
    E = clip_config.embed_dim
    content |= {"prompt_layers": method.prompt_layers, "prompt_num_attention_heads": max(1, E // 64)}
    content |= {"prompt_alpha": method.alpha, "prompt_hidden_act": "quick_gelu"}
    mit = {"hidden_size": E, "intermediate_size": 4 * E, "num_hidden_layers": method.mit_layers}
    mit["num_attention_heads"] = max(1, E // 64)
    content["vision_config"] |= {"num_frames": method.num_frames, "drop_path_rate": 0.0}
    content["vision_config"] |= {f"mit_{name}": size for name, size in mit.items()}
    return content, hugging_face.to_hugging_face(translate(state, NAMES, back=True))


OPTIONS = {"template": "prompt for a class name; None: the bare name"}
RELEASE = Release(read, write, "xclip_k400_b16_8f", OPTIONS, to_hugging_face)
