"""Vanilla CLIP on video: average the frame embeddings, compare with the class names (ViFi-CLIP, tables 1-3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.config import CLIPConfig
from stillmotion.methods.base import Method, Official
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP
from stillmotion.train.tuning import Tune
from stillmotion.weights import hugging_face
from stillmotion.weights.names import OPENAI, from_openai, to_openai, translate


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Method):
    """CLIP as it is; nothing trains.

    The tables of ViFi-CLIP use the bare class name (its authors: any template lowered the results); several templates
    are averaged after normalization, as in CLIP's own prompt ensembles.
    """

    needs_text: ClassVar[bool] = True

    templates: tuple[str, ...] = ("{}",)
    """Prompts for a class name."""

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two towers; without text weights, class embeddings must come from a file."""
        return VideoCLIP(
            backbone.visual(self.reads()),
            MeanPool(),
            CosineHead(bias=backbone.sigmoid),
            backbone.text_tower(),
            templates=self.templates,
            tokenizer=backbone.tokenizer,
        )

    def tune(self) -> tuple[Tune, ...]:
        """Nothing trains."""
        return ()

    @classmethod
    def official(cls, checkpoint: Mapping[str, Tensor], clip: Mapping[str, Tensor] | None, **sizes: Any) -> Official:
        """Read CLIP itself: OpenAI's, open_clip's or Hugging Face's names."""
        state = to_openai(checkpoint)
        own = {k: sizes.pop(k) for k in ("num_frames", "templates") if k in sizes}
        return Official(method=cls(**own), clip=CLIPConfig.from_state(state, **sizes), state=from_openai(state))

    def release(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Content of a file with OpenAI's names."""
        return {"state_dict": translate(state, OPENAI, back=True)}

    def hugging_face(self, state: Mapping[str, Tensor], clip: CLIPConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A `CLIPModel`."""
        return hugging_face.config(clip), hugging_face.to_hugging_face(translate(state, OPENAI, back=True))

    @property
    def frozen(self) -> bool:
        """The backbone is only read."""
        return True
