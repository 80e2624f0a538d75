"""CLIP's seeded weights behind the goldens of the methods with two towers."""

import torch
from torch import Tensor

from tests.golden.recipe import clip_shapes, picked, weight

SHAPES = clip_shapes(width=128, layers=3, patch=16, grid=4, embed=64, text_width=64, text_layers=2)


def clip_state(seed: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, Tensor]:
    """CLIP with OpenAI's names, from the recipe."""
    return {k: weight(k, s, seed) for k, s in shapes.items()}


def close(tensor: Tensor, expected: list[float]) -> None:
    """The numbers that a golden kept of a tensor, to 1e-5."""
    assert (torch.tensor(picked(tensor)) - torch.tensor(expected)).abs().max() <= 1e-5


def token_ids(tokens: Tensor) -> list[list[int]]:
    """Token ids without the padding."""
    return [[int(i) for i in row[row != 0]] for row in tokens]
