"""Learned frame positions: the one thing that ties a model to a number of frames."""

import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import StillmotionError


def check_frames(learned: int, T: int) -> None:
    """Refuse a video that has another number of frames than the positions.

    Raises `StillmotionError`: with the two ways to mend it.
    """
    if learned != T:
        raise StillmotionError(
            f"this model has positions for {learned} frames, the video has {T}; "
            f"sample {learned} frames, or call model.temporal.resize_time({T}) (a tubelet counts as one)"
        )


def interpolate(table_TD: Tensor, num_frames: int) -> Tensor:
    """Stretch a table of frame positions (T, D) to another number of frames, linearly."""
    resized = F.interpolate(table_TD.detach().T[None], num_frames, mode="linear", align_corners=False)
    return resized[0].T.contiguous()
