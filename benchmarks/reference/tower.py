"""CLIP's image tower as EVL's release runs it: separate projections, written-out attention, queries and keys tapped."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Tap(NamedTuple):
    """Of one block."""

    out: Tensor
    """(B T, L, D)."""
    q: Tensor
    """(B T, L, H, d), unscaled."""
    k: Tensor
    """The same."""


class Attention(nn.Module):
    """Self-attention by its equation, softmax(q k^T / sqrt(d) + mask) v, or `fused`: by PyTorch's own kernel."""

    def __init__(self, width: int, heads: int, fused: bool = False):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)) for part in (self.q_proj, self.k_proj, self.v_proj))
        if self.fused:
            heads = (part.transpose(1, 2) for part in (q, k, v))
            mix = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask)
            return self.out_proj(mix.transpose(1, 2).flatten(-2)), q, k
        scores = torch.einsum("nqhd,nkhd->nqkh", q / q.shape[-1] ** 0.5, k)
        if mask is not None:
            scores = scores + mask[:, :, None]
        mix = torch.einsum("nqkh,nkhd->nqhd", scores.softmax(dim=2), v)
        return self.out_proj(mix.flatten(-2)), q, k


class Block(nn.Module):
    """Pre-norm transformer block with QuickGELU."""

    def __init__(self, width: int, heads: int, mlp_width: int, fused: bool = False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, fused)
        self.fc1, self.fc2 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tap:
        mixed, q, k = self.attn(self.norm1(x), mask)
        x = x + mixed
        hidden = self.fc1(self.norm2(x))
        return Tap(x + self.fc2(hidden * torch.sigmoid(1.702 * hidden)), q, k)


class Tower(nn.Module):
    """Patches, a class token, positions and the blocks; no final norm, no projection."""

    def __init__(self, width: int, heads: int, layers: int, patch: int, side: int, fused: bool = False):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(3 * patch * patch, width)
        self.cls_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(1 + (side // patch) ** 2, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, fused) for _ in range(layers))

    def forward(self, video: Tensor, last: int) -> list[Tap]:
        """Taps of the last blocks, of a (B, T, 3, H, W) video."""
        frames, p = video.flatten(0, 1), self.patch
        pieces = frames.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        x = self.embed(pieces)
        x = torch.cat([self.cls_token.expand(x.shape[0], 1, -1), x], dim=1) + self.positions
        x, taps = self.norm(x), []
        for block in self.blocks:
            taps.append(block(x))
            x = taps[-1].out
        return taps[-last:]
