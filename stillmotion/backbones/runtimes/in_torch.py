"""PyTorch itself, in single precision or under autocast to a half precision."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stillmotion.models.features import Features


def in_torch(half: torch.dtype | None) -> Callable[[nn.Module, torch.device], Callable[[Tensor], Features]]:
    """A maker of runtimes; `half` is what matrix products are computed in, None: float32."""

    def make(tower: nn.Module, device: torch.device) -> Callable[[Tensor], Features]:
        tower = tower.to(device).eval().requires_grad_(False)
        if half is not None:
            round_matrices(tower, half)

        def run(video: Tensor) -> Features:
            with torch.inference_mode(), torch.autocast(device.type, dtype=half, enabled=half is not None):
                features: Features = tower(video.to(device))
            return features

        return run

    return make


def round_matrices(tower: nn.Module, half: torch.dtype) -> None:
    """Round the matrices of products once, as autocast does in every pass for weights that are not trained.

    New tensors take the place of those that the tower shares with others.
    """
    for part in tower.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.Conv3d)):
            part.weight = nn.Parameter(part.weight.to(half), requires_grad=False)
        elif isinstance(getattr(part, "in_proj_weight", None), Tensor):
            part.in_proj_weight = nn.Parameter(part.in_proj_weight.to(half), requires_grad=False)  # type: ignore[arg-type]
