"""The attentive probe of V-JEPA (Bardes et al., 2024) and V-JEPA 2 (Assran et al., 2025) on a frozen CLIP.

It sees no order: CLIP gives its tokens no place in time, and attention does not ask where a token lies, so any
permutation of the frames gives the same logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import at_least, check_fields
from stillmotion.methods.base import Probe
from stillmotion.models.features import Features, last_out
from stillmotion.models.layers import Block, LayerNorm
from stillmotion.models.query_attention import QueryAttention

INIT_STD = 0.02


class AttentivePooler(nn.Module):
    """Self-attention blocks over the tokens of all frames, then one learned query that reads them.

    `width` is D of the tokens and of the embedding; `blocks` counts the one that pools, the last.
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
        query_BD, x_BSD = self._read(features)
        query_BD = query_BD + self.attn(query_BD, x_BSD)
        return query_BD + self.mlp(self.norm2(query_BD))

    def attention(self, features: Features) -> Tensor:
        """Where the query looks, (B, 1, H, T, L), summing to one over T and L."""
        return self.attn.weights(*self._read(features))[:, None].unflatten(-1, last_out(features).shape[1:3])

    def _read(self, features: Features) -> tuple[Tensor, Tensor]:
        """The query (B, D), and the tokens that it reads."""
        x_BSD = last_out(features).to(self.query.dtype).flatten(1, 2)
        for block in self.blocks:
            x_BSD = block(x_BSD)
        return self.query.expand(x_BSD.shape[0], -1), self.norm1(x_BSD)  # the query itself is not normalized

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
class AttentiveProbe(Probe):
    """Attentive pooling of a frozen CLIP's last tokens, and a linear head; blind to the order of frames."""

    blocks: int = 1
    """Blocks of the probe: all but the last are self-attention over the tokens of all frames (V-JEPA 2 takes 4)."""
    heads: int | None = None
    """Attention heads; None: one per 64 channels."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLPs, in widths of the tower."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "blocks", hint=", the block that pools")
        check_fields(self, "above 0", lambda x: x > 0, "mlp_ratio")

    def reader(self, backbone: Backbone) -> nn.Module:
        """Build the pooler.

        Raises `StillmotionError`: the heads do not divide the tower's width.
        """
        D = backbone.width
        heads = D // 64 if self.heads is None else self.heads
        pooler = AttentivePooler(D, heads, self.blocks, round(self.mlp_ratio * D))
        pooler.initialize()
        return pooler
