"""Frames as EVL's release reads them: the whole video is decoded and converted, then some frames are kept."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor


def read(path: Path, indices: Sequence[int]) -> Tensor:
    """The frames at these indices, (T, 3, H, W), 0 to 255."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    kept = np.stack([frames[i] for i in indices])
    return torch.from_numpy(kept).permute(0, 3, 1, 2)
