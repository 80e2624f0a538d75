"""Tokens in one byte instead of two: integers, and for each channel of a view the step between them."""

import torch
from torch import Tensor

from stillmotion.models.features import Features

STEP = ".step"
"""What the name of a channel's steps ends with."""


def packs(name: str) -> bool:
    """Whether an output is packed: tokens are; what is small, or no table of channels, is not."""
    return name.startswith("out.")


def pack(name: str, tokens: Tensor) -> Features:
    """(T, L, D) tokens as 8-bit integers, and the (D,) steps of their channels.

    By channel, because the few channels of CLIP that are far larger than all others would take the steps of a token's
    others: six times the error by token.
    """
    step_D = tokens.float().abs().amax(dim=(0, 1)) / 127
    integers = (tokens.float() / step_D.clamp_min(torch.finfo(torch.float32).tiny)).round().to(torch.int8)
    return {name: integers.contiguous(), name + STEP: step_D}


def unpack(integers: Tensor, step_D: Tensor) -> Tensor:
    """Tokens again, in float16."""
    return (integers * step_D).to(torch.float16)
