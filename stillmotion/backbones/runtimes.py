"""How a frozen tower runs: the table of callables from pixels to `Features`. No method knows which one it is."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stillmotion.models.features import Features

Runtime = Callable[[Tensor], Features]


def in_torch(half: torch.dtype | None) -> Callable[[nn.Module, torch.device], Runtime]:
    """PyTorch itself, in float32 or under autocast to a half precision."""

    def make(tower: nn.Module, device: torch.device) -> Runtime:
        tower = tower.to(device).eval().requires_grad_(False)

        def run(video: Tensor) -> Features:
            with torch.inference_mode(), torch.autocast(device.type, dtype=half, enabled=half is not None):
                features: Features = tower(video.to(device))
            return features

        return run

    return make


RUNTIMES: dict[str, Callable[[nn.Module, torch.device], Runtime]] = {
    "fp32": in_torch(None),
    "fp16": in_torch(torch.float16),
    "bf16": in_torch(torch.bfloat16),
}
"""Makers by name: a tower and where it runs, to a callable from normalized (B, T, 3, H, W) videos to features."""
