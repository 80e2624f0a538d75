"""Vanilla CLIP on video: average the frame embeddings, compare with the class names (ViFi-CLIP, tables 1-3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stillmotion.backbones.backbone import Backbone
from stillmotion.methods.base import Method
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Method):
    """CLIP as it is; nothing trains.

    The tables of ViFi-CLIP use the bare class name (its authors: any template lowered the results); several templates
    are averaged after normalization, as in CLIP's own prompt ensembles.
    """

    needs_text: ClassVar[bool] = True
    frozen = True

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
