"""EVL's decoder by the equations of its sections 3.2 and 3.3, with all temporal modules.

Memory is materialized, tables are gathered, keys and values of every token are projected.
"""

import torch
from torch import Tensor, nn

from reference.tower import Tap


class CrossAttention(nn.Module):
    """One query's attention over many tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        q, k, v = self.q_proj(query), self.k_proj(memory), self.v_proj(memory)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        scores = torch.einsum("bqhd,bkhd->bqkh", q / q.shape[-1] ** 0.5, k)
        return self.out_proj(torch.einsum("bqkh,bkhd->bqhd", scores.softmax(dim=2), v).flatten(-2))


class Layer(nn.Module):
    """The query attends to the memory, then passes an MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = CrossAttention(width, heads)
        self.fc1, self.fc2, self.drop = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.Dropout(0.5)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query = query + self.attn(self.norm1(query), self.norm3(memory))
        hidden = self.fc1(self.norm2(query))
        return query + self.fc2(self.drop(hidden * torch.sigmoid(1.702 * hidden)))


class Decoder(nn.Module):
    """Layers that read one block each, and the closed head."""

    def __init__(self, width: int, heads: int, layers: int, frames: int, grid: int, classes: int):
        super().__init__()
        self.frames = frames
        self.query = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1, groups=width) for _ in range(layers))
        self.times = nn.ParameterList(torch.zeros(frames, width) for _ in range(layers))
        rows = (2 * grid - 1) ** 2
        self.back = nn.ParameterList(torch.zeros(rows, width) for _ in range(layers))
        self.ahead = nn.ParameterList(torch.zeros(rows, width) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.5), nn.Linear(width, classes))
        y, x = torch.arange(grid).repeat_interleave(grid), torch.arange(grid).repeat(grid)
        offsets = (y[:, None] - y + grid - 1) * (2 * grid - 1) + (x[:, None] - x + grid - 1)
        self.register_buffer("offsets", offsets, persistent=False)

    def motion(self, q: Tensor, k: Tensor, table: Tensor) -> Tensor:
        """Affinity of the patches of neighboring frames, heads averaged, read from a table of relative positions."""
        affinity = torch.einsum("btqhd,btkhd->btqkh", q / q.shape[-1] ** 0.5, k).softmax(dim=3).mean(dim=4)
        return torch.einsum("btqk,qkd->btqd", affinity, table[self.offsets])

    def memory(self, i: int, tap: Tap) -> Tensor:
        """What layer i reads, (B, T L, D)."""
        out, q, k = (part.unflatten(0, (-1, self.frames)) for part in tap)
        B, T, L, D = out.shape
        moved = self.convs[i](out.permute(0, 2, 3, 1).reshape(B * L, D, T))
        memory = out + moved.view(B, L, D, T).permute(0, 3, 1, 2) + self.times[i][:, None]
        q, k, seen = q[:, :, 1:], k[:, :, 1:], torch.zeros_like(out)
        seen[:, 1:, 1:] += self.motion(q[:, 1:], k[:, :-1], self.back[i])
        seen[:, :-1, 1:] += self.motion(q[:, :-1], k[:, 1:], self.ahead[i])
        return (memory + seen).flatten(1, 2)

    def forward(self, taps: list[Tap]) -> Tensor:
        """Logits (B, K)."""
        query = self.query.expand(taps[0].out.shape[0] // self.frames, 1, -1)
        for i, (layer, tap) in enumerate(zip(self.layers, taps)):
            query = layer(query, self.memory(i, tap))
        return self.head(query[:, 0])
