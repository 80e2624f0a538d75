"""What changes over a clip: cosine coefficients, over time, of what the frames hold."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GAIN = 8.0  # the coefficients are small, .02 to .04, and a linear layer learns each of them at the same rate


def cosines(frames: int, count: int) -> Tensor:
    """The cosines 1 to `count` of a discrete cosine transform (DCT-II) over time, (R, T), each of mean 0 and rms 1.

    The odd ones compare the clip's end with its beginning and change their sign with the direction of time; the even
    ones compare its middle with its ends. Number 0, the mean, is left out: it is what does not change.
    """
    t = (torch.arange(frames) + 0.5) / frames
    return torch.stack([2**0.5 * torch.cos(math.pi * r * t) for r in range(1, count + 1)])


def change(tokens_BTLD: Tensor, prefix: int, count: int) -> Tensor:
    """How the mean and the deviation of a frame's patches change over the clip, (B, 2 R D); zero in a still clip.

    The mean says what is in a frame, the deviation over its patches what is in a part of it alone.

    Args:
        tokens_BTLD: tokens of a block, each normalized here (without weights).
        prefix: tokens of a frame before its patches.
        count: R, cosine coefficients; below T.
    """
    T, dtype, sums = tokens_BTLD.shape[1], torch.promote_types(tokens_BTLD.dtype, torch.float32), []
    for frame_BPD in tokens_BTLD[:, :, prefix:].unbind(1):  # one after the other, so that each stays in the cache
        x_BPD = F.layer_norm(frame_BPD.to(dtype), frame_BPD.shape[-1:])
        sums.append(torch.stack(torch.std_mean(x_BPD, dim=1, correction=0), dim=1))
    frames_BTSD, cosines_RT = torch.stack(sums, dim=1), cosines(T, count).to(tokens_BTLD.device, dtype) / T
    return (GAIN * torch.einsum("rt,btsd->brsd", cosines_RT, frames_BTSD)).flatten(1)
