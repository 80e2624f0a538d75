"""Vanilla CLIP on video: average the frame embeddings, compare with the class names (ViFi-CLIP, tables 1-3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stillmotion.backbones.clip import TextTransformer, VisionTransformer
from stillmotion.backbones.config import CLIPConfig
from stillmotion.methods.base import Method
from stillmotion.models.video_clip import CosineHead, MeanPool, VideoCLIP
from stillmotion.train.tuning import Tune


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Method):
    """CLIP as it is; nothing trains.

    The tables of ViFi-CLIP use the bare class name (its authors: any template lowered the results); several templates
    are averaged after normalization, as in CLIP's own prompt ensembles.
    """

    needs_text: ClassVar[bool] = True

    templates: tuple[str, ...] = ("{}",)
    """Prompts for a class name."""

    def build(self, clip: CLIPConfig, class_names: Sequence[str]) -> VideoCLIP:
        """Build the two towers; without text weights, class embeddings must come from a file."""
        text = TextTransformer(clip) if clip.text else None
        return VideoCLIP(
            VisionTransformer(clip),
            MeanPool(),
            CosineHead(),
            text,
            templates=self.templates,
            tokenizer=clip.tokenizer,
        )

    def tune(self) -> tuple[Tune, ...]:
        """Nothing trains."""
        return ()

    def cached_taps(self) -> tuple[int, ...]:
        """Pooled embeddings are all it reads."""
        return ()
