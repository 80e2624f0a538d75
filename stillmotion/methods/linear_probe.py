"""The baseline of every frozen backbone: one linear layer on the mean of the frame embeddings.

It sees no order: a clip and its reverse give the same logits. With `num_frames=1` it is the single-frame control.
"""

from dataclasses import dataclass

from stillmotion.backbones.backbone import Backbone
from stillmotion.methods.base import Probe
from stillmotion.models.features import FRAMES, Reads
from stillmotion.models.video_clip import MeanPool


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Probe):
    """Norm, dropout and a linear layer on mean-pooled CLIP embeddings; CLIP stays frozen."""

    def reader(self, backbone: Backbone) -> MeanPool:
        """Average the frame embeddings."""
        return MeanPool()

    def new_parameters(self) -> tuple[str, ...]:
        """The head is new."""
        return ("head.*",)

    def reads(self) -> Reads:
        """Frame embeddings."""
        return FRAMES
