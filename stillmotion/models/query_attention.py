"""Cross-attention of one query over very many tokens, without projecting the tokens."""

import torch
from torch import Tensor, nn

from stillmotion.errors import StillmotionError
from stillmotion.models.layers import LayerNorm
from stillmotion.models.normalized_read import read_normalized


class QueryAttention(nn.Module):
    """Multi-head attention of a single query, exact, at a fraction of the work.

    With one query there is no need for keys and values of every token:

        score of token y in head h:   q_h . (W_k y)_h  =  (W_k,h^T q_h) . y      (fold the query into the key matrix)
        output of head h:   sum_y a_hy (W_v y)_h       =  W_v,h (sum_y a_hy y)   (pool the tokens, then project)

    Two products with (S, D) instead of two projections (S, D) x (D, D): the tokens are read, never copied. Parameter
    names are those of EVL's release.

    Args:
        width: D of the query, the tokens and the output.
        heads: attention heads.
        inner: total width of the heads; None: D.
        of: what it is a part of, for the error.

    Raises `StillmotionError`: the heads do not divide their total width.
    """

    def __init__(self, width: int, heads: int, inner: int | None = None, of: str = "probe"):
        super().__init__()
        self.heads, inner = heads, inner or width
        if heads < 1 or inner % heads:
            raise StillmotionError(f"{heads} heads do not divide the {of}'s width {inner}; choose others with --heads")
        self.q_proj, self.k_proj = nn.Linear(width, inner), nn.Linear(width, inner)
        self.v_proj, self.out_proj = nn.Linear(width, inner), nn.Linear(inner, width)

    def fold(self, query_BD: Tensor) -> Tensor:
        """The query of every head in the space of the tokens, (B, H, D)."""
        q_BHd = self.q_proj(query_BD).unflatten(-1, (self.heads, -1))
        q_BHd = q_BHd * q_BHd.shape[-1] ** -0.5
        key_HdD = self.k_proj.weight.unflatten(0, (self.heads, -1))
        return torch.einsum("bhd,hdD->bhD", q_BHd, key_HdD)

    def weights(self, query_BD: Tensor, tokens_BSD: Tensor) -> Tensor:
        """Attention of every head over the tokens, (B, H, S), summing to one."""
        return (self.fold(query_BD) @ tokens_BSD.transpose(1, 2)).softmax(dim=-1)

    def forward(self, query_BD: Tensor, tokens_BSD: Tensor) -> Tensor:
        """Read (B, S, D) tokens with a (B, D) query; returns (B, D)."""
        return self._project(self.weights(query_BD, tokens_BSD).to(tokens_BSD.dtype) @ tokens_BSD)

    def read(self, query_BD: Tensor, tokens_BSD: Tensor, norm: LayerNorm) -> Tensor:
        """Read the layer norm of (B, S, D) tokens; returns (B, D)."""
        if torch.compiler.is_compiling() or not tokens_BSD.is_cpu or torch.is_autocast_enabled("cpu"):
            return self(query_BD, norm(tokens_BSD))
        return self._project(read_normalized(self.fold(query_BD), tokens_BSD, norm.weight, norm.bias, norm.eps))

    def _project(self, pooled_BHD: Tensor) -> Tensor:
        value_HdD = self.v_proj.weight.unflatten(0, (self.heads, -1))
        read_BHd = torch.einsum("bhD,hdD->bhd", pooled_BHD, value_HdD)
        # The key bias adds the same number to every score of a head, which the softmax removes: its gradient is
        # exactly zero. It stays in the graph, because an optimizer decays a zero gradient but skips a missing one.
        return self.out_proj(read_BHd.flatten(1) + self.v_proj.bias + 0 * self.k_proj.bias.sum())

    def initialize(self) -> None:
        """Xavier-uniform matrices, no biases, as in EVL's release."""
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
