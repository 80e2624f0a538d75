"""STEP (Ponbagavathi and Roitberg, arXiv 2503.24298): attentive probing that knows which frame a token is from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods.base import Method
from stillmotion.models.features import Features, Reads, last_out
from stillmotion.models.positions import check_frames, interpolate
from stillmotion.models.query_attention import QueryAttention
from stillmotion.models.video_clip import LinearHead, VideoCLIP
from stillmotion.train.tuning import Tune

CLS_STD = 0.02


class StepAttention(nn.Module):
    """One bare self-attention layer over a global class token and all frames' tokens, which know their frame.

    Args:
        width: D of the tokens and of the embedding.
        heads: attention heads.
        num_frames: frames that have a place.
    """

    def __init__(self, width: int, heads: int, num_frames: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros(num_frames, width))
        self.attn = QueryAttention(width, heads)

    def forward(self, features: Features) -> Tensor:
        """Read the last block's tokens into one video embedding, (B, D).

        Raises:
            StillmotionError: another number of frames than there are positions.
        """
        x_BTLD = last_out(features).to(self.cls_token.dtype)
        check_frames(self.positions.shape[0], x_BTLD.shape[1])
        placed_BSD = (x_BTLD + self.positions[:, None]).flatten(1, 2)
        cls_BD = self.cls_token.expand(x_BTLD.shape[0], -1)
        # The head reads the class token alone, so what the layer makes of the other tokens is never computed.
        return self.attn(cls_BD, torch.cat([cls_BD[:, None], placed_BSD], dim=1))

    def saved_macs(self, features: Features) -> int:
        """Multiply-accumulates that what the layer makes of the other tokens would add."""
        B, T, L, D = last_out(features).shape
        return B * T * L * 2 * (D * D + (T * L + 1) * D)  # their queries and outputs; their scores and mixes

    def resize_time(self, num_frames: int) -> None:
        """Interpolate the learned frame positions, linearly, to another number of frames."""
        self.positions = nn.Parameter(interpolate(self.positions, num_frames))

    def initialize(self, position_std: float) -> None:
        """Xavier-uniform matrices without biases, normal class token and positions."""
        nn.init.normal_(self.cls_token, std=CLS_STD)
        nn.init.normal_(self.positions, std=position_std)
        for linear in (self.attn.q_proj, self.attn.k_proj, self.attn.v_proj, self.attn.out_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)


@dataclass(frozen=True, kw_only=True)
class Step(Method):
    """STEP's frame positions, global class token and bare self-attention on a frozen CLIP, and a linear head."""

    heads: int | None = None
    """Attention heads; None: one per 64 channels."""
    position_std: float = 0.02
    """Deviation of the frame positions at the start; the channels of CLIP's tokens have one of 0.2 to 0.3."""
    dropout: float = 0.0
    """Dropout before the linear layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.position_std < float("inf"):
            raise StillmotionError(f"position-std is {self.position_std}; it must be a finite number, at least 0")
        if not 0 <= self.dropout < 1:
            raise StillmotionError(f"dropout is {self.dropout}; it must be in [0, 1)")

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build tower, attention and head for these classes.

        Raises:
            StillmotionError: the heads do not divide the tower's width.
        """
        D = backbone.width
        heads = D // 64 if self.heads is None else self.heads
        if heads < 1 or D % heads:
            raise StillmotionError(f"{heads} heads do not divide the probe's width {D}; choose others with --heads")
        attention = StepAttention(D, heads, backbone.steps(self.num_frames))
        attention.initialize(self.position_std)
        head = LinearHead(D, len(class_names), self.dropout)
        return VideoCLIP(backbone.visual(self.reads()), attention, head)

    def tune(self) -> tuple[Tune, ...]:
        """Class token, positions, attention and head."""
        return (Tune("temporal.*"), Tune("head.*"))

    def new_parameters(self) -> tuple[str, ...]:
        """All but the tower is new."""
        return ("temporal.*", "head.*")

    def reads(self) -> Reads:
        """The tokens of the last block."""
        return Reads(out=(-1,))

    @property
    def frozen(self) -> bool:
        """The backbone is only read."""
        return True
