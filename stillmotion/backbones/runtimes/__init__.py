"""How a frozen tower runs: the table of callables from pixels to `Features`. No method knows which one it is."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from stillmotion.backbones.runtimes.in_openvino import in_openvino, there
from stillmotion.backbones.runtimes.in_torch import in_torch
from stillmotion.backbones.runtimes.integers import in_integers
from stillmotion.backbones.runtimes.probe import runs
from stillmotion.models.features import Features

Runtime = Callable[[Tensor], Features]

RUNTIMES: dict[str, Callable[[nn.Module, torch.device], Runtime]] = {
    "fp32": in_torch(None),
    "fp16": in_torch(torch.float16),
    "bf16": in_torch(torch.bfloat16),
    "int8": in_integers,
    "openvino": in_openvino,
}
"""Makers by name: a tower and where it runs, to a callable from normalized (B, T, 3, H, W) videos to features."""

REVISIONS = {"int8": 1, "openvino": 1}
"""Of those whose arithmetic is ours to change: raised with what changes a feature, as a cache holds one kind alone."""


@cache
def usable(name: str) -> bool:
    """Whether a runtime can be used on this machine's CPU; found once for a process."""
    return there() if name == "openvino" else runs(name)
