"""The attentive probe of V-JEPA (Bardes et al., 2024) and V-JEPA 2 (Assran et al., 2025) on a frozen CLIP.

It sees no order: CLIP gives its tokens no place in time, and attention does not ask where a token lies, so any
permutation of the frames gives the same logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods.base import Method
from stillmotion.models.features import Features, Reads, last_out
from stillmotion.models.layers import Block, LayerNorm
from stillmotion.models.query_attention import QueryAttention
from stillmotion.models.video_clip import LinearHead, VideoCLIP
from stillmotion.train.tuning import Tune

INIT_STD = 0.02


class AttentivePooler(nn.Module):
    """Self-attention blocks over the tokens of all frames, then one learned query that reads them.

    Args:
        width: D of the tokens and of the embedding.
        heads: attention heads of every block.
        blocks: all of them, the last being the one that pools.
        mlp_width: hidden width of their MLPs.
    """

    def __init__(self, width: int, heads: int, blocks: int, mlp_width: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_width, "gelu") for _ in range(blocks - 1))
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attn = QueryAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_width), nn.GELU(), nn.Linear(mlp_width, width))

    def forward(self, features: Features) -> Tensor:
        """Read the last block's tokens into one video embedding, (B, D)."""
        x_BSD = last_out(features).to(self.query.dtype).flatten(1, 2)
        for block in self.blocks:
            x_BSD = block(x_BSD)
        query_BD = self.query.expand(x_BSD.shape[0], -1)
        query_BD = query_BD + self.attn(query_BD, self.norm1(x_BSD))  # the query itself is not normalized
        return query_BD + self.mlp(self.norm2(query_BD))

    def initialize(self) -> None:
        """Truncated normal matrices; what ends residual branch i is divided by sqrt(2 i), as in V-JEPA 2's code."""
        nn.init.trunc_normal_(self.query, std=INIT_STD)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=INIT_STD)
        for i, block in enumerate(self.blocks, start=1):
            assert isinstance(block, Block)
            block.attn.out_proj.weight.data /= (2 * i) ** 0.5
            block.mlp.get_submodule("c_proj").get_parameter("weight").data /= (2 * i) ** 0.5
        # The pooling block counts as the last self-attention block does, not as the next one: so the release has it.
        last = (2 * max(1, len(self.blocks))) ** 0.5
        self.attn.out_proj.weight.data /= last
        self.mlp.get_parameter("2.weight").data /= last


@dataclass(frozen=True, kw_only=True)
class AttentiveProbe(Method):
    """Attentive pooling of a frozen CLIP's last tokens, and a linear head; blind to the order of frames."""

    blocks: int = 1
    """Blocks of the probe: all but the last are self-attention over the tokens of all frames (V-JEPA 2 takes 4)."""
    heads: int | None = None
    """Attention heads; None: one per 64 channels."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLPs, in widths of the tower."""
    dropout: float = 0.0
    """Dropout before the linear layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 1:
            raise StillmotionError(f"blocks is {self.blocks}; it must be at least 1, the block that pools")
        if not self.mlp_ratio > 0:
            raise StillmotionError(f"mlp-ratio is {self.mlp_ratio}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise StillmotionError(f"dropout is {self.dropout}; it must be in [0, 1)")

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build tower, pooler and head for these classes.

        Raises:
            StillmotionError: the heads do not divide the tower's width.
        """
        D = backbone.width
        heads = D // 64 if self.heads is None else self.heads
        if heads < 1 or D % heads:
            raise StillmotionError(f"{heads} heads do not divide the probe's width {D}; choose others with --heads")
        pooler = AttentivePooler(D, heads, self.blocks, round(self.mlp_ratio * D))
        pooler.initialize()
        head = LinearHead(D, len(class_names), self.dropout)
        return VideoCLIP(backbone.visual(self.reads()), pooler, head)

    def tune(self) -> tuple[Tune, ...]:
        """Pooler and head."""
        return (Tune("temporal.*"), Tune("head.*"))

    def new_parameters(self) -> tuple[str, ...]:
        """Pooler and head are new."""
        return ("temporal.*", "head.*")

    def reads(self) -> Reads:
        """The tokens of the last block."""
        return Reads(out=(-1,))

    @property
    def frozen(self) -> bool:
        """The backbone is only read."""
        return True
