"""ViFi-CLIP (Rasheed et al., CVPR 2023): fine-tune CLIP itself on frame-averaged embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from stillmotion.errors import WeightsError
from stillmotion.methods.base import Method, Official
from stillmotion.models.clip import TextTransformer, VisionTransformer
from stillmotion.models.config import CLIPConfig
from stillmotion.models.names import from_openai
from stillmotion.models.tuning import Tune
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP

# The release embeds class names once, so its token table never trains; and its image and text variants freeze
# `logit_scale`, because they select by the words "image_encoder" and "text_encoder".
TUNES: dict[str, tuple[Tune, ...]] = {
    "full": (Tune("*"), Tune("text.token_embedding.*", 0)),
    "image": (Tune("visual.*"),),
    "text": (Tune("text.*"), Tune("text.token_embedding.*", 0)),
}


@dataclass(frozen=True, kw_only=True)
class ViFiCLIP(Method):
    """Mean of un-normalized frame embeddings, cosine with the class names, no new weights (section 3.1)."""

    needs_text: ClassVar[bool] = True

    num_frames: int = 16
    """Frames read from each video (the paper: 16 fully supervised, 32 zero-shot and few-shot)."""
    tuned: Literal["full", "image", "text"] = "full"
    """Which towers train: both and the temperature (ViFi-CLIP), or one of them alone (CLIP image-FT, text-FT)."""
    template: str = "a photo of a {}."
    """Prompt for a class name."""

    def build(self, clip: CLIPConfig, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two towers, mean pooling and the cosine head."""
        return VideoCLIP(
            VisionTransformer(clip),
            MeanPool(),
            CosineHead(),
            TextTransformer(clip) if clip.text else None,
            templates=(self.template,),
            tokenizer=clip.tokenizer,
        )

    def tune(self) -> tuple[Tune, ...]:
        """What the chosen variant trains (systems: full 124.3 M, image 86.2 M, text 38.1 M at B/16)."""
        return TUNES[self.tuned]

    @classmethod
    def official(cls, checkpoint: Mapping[str, Tensor], clip: Mapping[str, Tensor] | None, **sizes: Any) -> Official:
        """Read a fine-tuned ViFi-CLIP checkpoint; its token table must come from `clip` (the release drops it)."""
        state = {}
        for key, value in checkpoint.items():
            name = key.removeprefix("module.")
            if name.startswith("prompt_learner."):
                continue  # buffers of the class names it was trained with
            state[name.replace("image_encoder.", "visual.").replace("text_encoder.", "")] = value
        if any("VPT" in name for name in state):
            raise WeightsError(
                "this ViFi-CLIP checkpoint holds prompts (stage 2); only fine-tuned ones are read so far"
            )
        if "token_embedding.weight" not in state:
            if clip is None or "token_embedding.weight" not in clip:
                raise WeightsError(
                    "ViFi-CLIP checkpoints lack 'token_embedding.weight'; pass clip=, the OpenAI ViT-B/16 weights"
                )
            state["token_embedding.weight"] = clip["token_embedding.weight"]
        method_sizes = {k: sizes.pop(k) for k in ("num_frames", "template") if k in sizes}
        config = CLIPConfig.from_state(state, **sizes)
        return Official(method=cls(**method_sizes), clip=config, state=from_openai(state))
