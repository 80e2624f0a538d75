"""A frozen tower whose matrix products are of 8-bit integers: weights by output channel, activations by token.

After LLM.int8 (Dettmers et al., NeurIPS 2022), which keeps the few channels that are far larger than all others in
floating point. The step of the integers belongs to one token, so that the tokens with very large values that CLIP has
(registers: Darcet et al., ICLR 2024) take nothing from the others; static steps, one for a whole layer, destroy it.
Weights that are multiples of a row's largest value through 127 are not rounded again.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stillmotion.backbones.runtimes.in_torch import in_torch
from stillmotion.errors import StillmotionError
from stillmotion.models.features import Features
from stillmotion.models.layers import Attention

LEAST = 64
"""Channels below which a layer stays as it is."""
TINY = 1e-12
KEPT = 16
"""Input channels of a layer that stay in floating point."""
COLUMNS = 768
"""Output channels of one product."""


class IntegerLinear(nn.Module):
    """x W^T + b, over the last axis, in 8-bit integers; weights (N, K), inputs (..., L, K).

    Of each (L, K), one frame, the channels with the largest values are multiplied in float32. Of each token the middle
    of its range is taken off first, because inputs behind an activation lie to one side of zero, and its share of the
    result, which is of rank one, is put back.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight, self.bias = weight, bias  # shared, for towers that read a layer's weights past it
        weight_NK = weight.detach().float()
        scale_N = weight_NK.abs().amax(1).clamp_min(TINY) / 127
        integers_NK = (weight_NK / scale_N[:, None]).round().to(torch.int8)
        self.matrices_Kn, self.scales_n = integers_NK.t().split(COLUMNS, 1), scale_N.split(COLUMNS)
        self.weight_KN = weight_NK.t().contiguous()
        self.total_1N = (integers_NK.sum(1) * scale_N)[None]
        self.bias_N = weight_NK.new_zeros(weight_NK.shape[0]) if bias is None else bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        x_FLK = x.reshape(-1, *x.shape[-2:])
        out_FLN = x.new_empty(*x_FLK.shape[:2], self.bias_N.shape[0])
        for x_LK, out_LN in zip(x_FLK, out_FLN):
            self._multiply(x_LK, out_LN)
        return out_FLN.view(*x.shape[:-1], -1)

    def _multiply(self, x_LK: Tensor, out_LN: Tensor) -> None:
        kept_k = torch.maximum(x_LK.amax(0), -x_LK.amin(0)).topk(KEPT).indices
        rest_LK = x_LK.index_fill(1, kept_k, 0.0)
        high_L1, low_L1 = rest_LK.amax(1, keepdim=True), rest_LK.amin(1, keepdim=True)
        middle_L1, step_L1 = (high_L1 + low_L1) / 2, ((high_L1 - low_L1) / 254).clamp_min_(TINY)
        per_L1 = 1 / step_L1
        rest_LK.mul_(per_L1).sub_(middle_L1 * per_L1).round_().index_fill_(1, kept_k, 0.0)
        integers_LK = rest_LK.to(torch.int8)
        side_Lk = torch.cat([x_LK[:, kept_k] - middle_L1, middle_L1], dim=1)
        torch.addmm(self.bias_N, side_Lk, torch.cat([self.weight_KN[kept_k], self.total_1N]), out=out_LN)
        # In pieces that stay in the processor's cache until they are added.
        for out_Ln, matrix_Kn, scale_n in zip(out_LN.split(COLUMNS, 1), self.matrices_Kn, self.scales_n):
            out_Ln.add_(torch._int_mm(integers_LK, matrix_Kn).float().mul_(scale_n).mul_(step_L1))


class _Attention(Attention):
    """Attention whose packed projection is of integers."""

    def __init__(self, attention: Attention):
        nn.Module.__init__(self)
        self.heads, self.out_proj = attention.heads, attention.out_proj
        self.packed = IntegerLinear(attention.in_proj_weight, attention.in_proj_bias)

    def project(self, x: Tensor) -> Tensor:
        projected: Tensor = self.packed(x)
        return projected


def in_integers(tower: nn.Module, device: torch.device) -> Callable[[Tensor], Features]:
    """The layers of a tower in 8-bit integers, all else in float32.
    Raises `StillmotionError`: the device is not a CPU.
    """
    if device.type != "cpu":
        raise StillmotionError(f"the runtime int8 is for a CPU, this is {device.type}; pass --runtime bf16")
    for parent in list(tower.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is Attention and min(part.in_proj_weight.shape) >= LEAST:
                setattr(parent, name, _Attention(part))
    for parent in list(tower.modules()):
        if isinstance(parent, nn.MultiheadAttention):
            continue  # PyTorch's own reads the weights of its parts
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Linear) and min(part.weight.shape) >= LEAST:
                setattr(parent, name, IntegerLinear(part.weight, part.bias))
    return in_torch(None)(tower, device)
