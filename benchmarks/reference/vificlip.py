"""ViFi-CLIP by its equations (section 3.1): frame embeddings, their mean, a cosine with prompts of all 77 tokens."""

import torch
from torch import Tensor, nn

from reference.tower import Block, Tower


class TextTower(nn.Module):
    """CLIP's causal text tower: token ids (K, S) to class embeddings (K, E)."""

    def __init__(self, words: int, width: int, heads: int, layers: int, context: int, embed: int):
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Parameter(torch.randn(context, width) * 0.01)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, fused=True) for _ in range(layers))
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, embed, bias=False)
        self.register_buffer("mask", torch.full((context, context), float("-inf")).triu(1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.positions
        for block in self.blocks:
            x = block(x, self.mask).out
        return self.project(self.norm(x)[torch.arange(len(tokens)), tokens.argmax(dim=1)])


class ViFiCLIP(nn.Module):
    """Both towers, trained."""

    def __init__(self, tower: Tower, text: TextTower, width: int, embed: int):
        super().__init__()
        self.tower, self.text = tower, text
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, embed, bias=False)

    def forward(self, video: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, K)."""
        (tap,) = self.tower(video, 1)
        frames = self.project(self.norm(tap.out[:, 0]))
        videos = frames.unflatten(0, video.shape[:2]).mean(dim=1)
        videos, classes = (nn.functional.normalize(x, dim=-1) for x in (videos, self.text(tokens)))
        return 100 * videos @ classes.T
