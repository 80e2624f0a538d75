"""ViFi-CLIP's release: a fine-tuned CLIP without its token table, with learned prompts or none."""

from typing import Any

from torch import Tensor

from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import WeightsError
from stillmotion.methods.vificlip import ViFiCLIP
from stillmotion.releases.base import MissingClip, Official, Release, State
from stillmotion.releases.clip import clip_model
from stillmotion.weights.names import OPENAI, translate

NAMES = (
    ("image_encoder.VPT", "visual.stem.VPT"),
    ("image_encoder.", "visual."),
    ("prompt_learner.ctx", "text.stem.ctx"),
    ("text_encoder.", "text."),
    ("token_embedding.", "text.token_embedding."),
    ("logit_scale", "head.logit_scale"),
)
CLASS_BUFFERS = ("complete_text_embeddings", "token_prefix", "token_suffix")  # of the classes it was trained with


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read towers and prompts; the token table must come from `clip`."""
    state = {k: v for k, v in checkpoint.items() if not k.endswith(CLASS_BUFFERS)}
    if "token_embedding.weight" not in state:
        if clip is None or "token_embedding.weight" not in clip:
            raise MissingClip("ViFi-CLIP checkpoints lack 'token_embedding.weight'", "the OpenAI ViT-B/16 weights")
        state["token_embedding.weight"] = clip["token_embedding.weight"]
    ours = translate(state, NAMES)
    shown: dict[str, Any] = {}
    for tower, first in (("vision", "visual.stem.VPT"), ("text", "text.stem.ctx")):
        if first in ours:
            deep = [k for k in ours if k.endswith("VPT_shallow") and k.startswith(first.split(".")[0])]
            shown |= {f"{tower}_prompts": ours[first].shape[0], f"{tower}_depth": 1 + len(deep), "tuned": "prompts"}
    plain = {k: v for k, v in ours.items() if "stem." not in k and not k.endswith("VPT_shallow")}
    return Official(ViFiCLIP(**options | shown), translate(plain, OPENAI, back=True), ours)


def write(method: ViFiCLIP, state: State) -> dict[str, Any]:
    """Write towers and prompts; the release makes the buffers of its classes itself."""
    kept = {k: v for k, v in state.items() if not k.startswith("text.token_embedding.")}
    return {"model": {f"module.{k}": v for k, v in translate(kept, NAMES, back=True).items()}}


def to_hugging_face(method: ViFiCLIP, state: State, clip: CLIPConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write a fine-tuned CLIP as a `CLIPModel`; one with prompts is not."""
    if method.new_parameters():
        raise WeightsError("transformers' CLIPModel has no place for learned prompts; write --to official")
    return clip_model(method, state, clip)


OPTIONS = {
    "num_frames": "frames of a view; None: 32, as in its zero-shot setting, which is said",
    "template": "prompt for a class name, where no text prompts are learned; None: 'a photo of a {}.'",
    "initial_words": "the words that its text prompts started from, where it is not filler words",
}
RELEASE = Release(read, write, "vificlip_zero_shot", OPTIONS, to_hugging_face)
