"""STEP (Ponbagavathi and Roitberg, arXiv 2503.24298): attentive probing that knows which frame a token is from."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import check_fields
from stillmotion.methods.base import Probe
from stillmotion.models.features import Features, last_out
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.query_attention import QueryAttention

CLS_STD = 0.02


class StepAttention(nn.Module):
    """One bare self-attention layer over a global class token and the tokens of all frames, which know their place."""

    def __init__(self, width: int, heads: int, num_frames: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros(num_frames, width))
        self.attn = QueryAttention(width, heads)

    def forward(self, features: Features) -> Tensor:
        """Read the last block's tokens into one video embedding, (B, D).

        Raises `StillmotionError`: another number of frames than there are positions.
        """
        # The head reads the class token alone, so what the layer makes of the other tokens is never computed.
        return self.attn(*self._read(features))

    def attention(self, features: Features) -> Tensor:
        """Where the global class token looks, (B, 1, H, T, L); what is lacking to one is its attention to itself."""
        weights_BHS = self.attn.weights(*self._read(features))
        return weights_BHS[:, None, :, 1:].unflatten(-1, last_out(features).shape[1:3])

    def _read(self, features: Features) -> tuple[Tensor, Tensor]:
        """The query (B, D), and all that it reads: itself, then the tokens of all frames."""
        x_BTLD = last_out(features).to(self.cls_token.dtype)
        check_frames(self.positions.shape[0], x_BTLD.shape[1])
        placed_BSD = (x_BTLD + self.positions[:, None]).flatten(1, 2)
        cls_BD = self.cls_token.expand(x_BTLD.shape[0], -1)
        return cls_BD, torch.cat([cls_BD[:, None], placed_BSD], dim=1)

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        self.positions = nn.Parameter(interpolate(self.positions, num_frames))

    def initialize(self, position_std: float) -> None:
        """Normal class token and positions, Xavier-uniform matrices."""
        nn.init.normal_(self.cls_token, std=CLS_STD)
        nn.init.normal_(self.positions, std=position_std)
        self.attn.initialize()


@dataclass(frozen=True, kw_only=True)
class Step(Probe):
    """STEP's frame positions, global class token and bare self-attention on a frozen CLIP, and a linear head."""

    heads: int | None = None
    """Attention heads; None: one per 64 channels."""
    position_std: float = 0.02
    """Deviation of the frame positions at the start; the channels of CLIP's tokens have one of 0.2 to 0.3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, "a finite number, at least 0", lambda x: 0 <= x < math.inf, "position_std")

    def reader(self, backbone: Backbone) -> nn.Module:
        """Build the attention, with a position for each step of time.

        Raises `StillmotionError`: the heads do not divide the tower's width.
        """
        D, steps = backbone.width, backbone.steps(self.num_frames)
        attention = StepAttention(D, D // 64 if self.heads is None else self.heads, steps)
        attention.initialize(self.position_std)
        return attention
