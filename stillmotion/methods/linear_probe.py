"""The baseline of every frozen backbone: one linear layer on the mean of the frame embeddings.

It sees no order: a clip and its reverse give the same logits. With `num_frames=1` it is the single-frame control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stillmotion.backbones.backbone import Backbone
from stillmotion.methods.base import Method
from stillmotion.models.video_clip import LinearHead, MeanPool, VideoCLIP
from stillmotion.train.tuning import Tune


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Method):
    """Norm, dropout and a linear layer on mean-pooled CLIP embeddings; CLIP stays frozen."""

    dropout: float = 0.0
    """Dropout before the linear layer."""

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the probe for these classes."""
        head = LinearHead(backbone.embed_dim, len(class_names), self.dropout)
        return VideoCLIP(backbone.visual(self.reads()), MeanPool(), head)

    def tune(self) -> tuple[Tune, ...]:
        """Only the head trains."""
        return (Tune("head.*"),)

    def new_parameters(self) -> tuple[str, ...]:
        """The head is new."""
        return ("head.*",)

    @property
    def frozen(self) -> bool:
        """The backbone is only read."""
        return True
