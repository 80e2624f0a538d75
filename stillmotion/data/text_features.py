"""Class embeddings from a file, in the place of a text tower."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import StillmotionError


def read_text_features(path: Path, classes: int, embed_dim: int) -> Tensor:
    """Read class embeddings (K, E) from a `.npy` file, normalized.
    Raises `StillmotionError`: not such a file, another shape, or values that are not finite.
    """
    try:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)  # nothing is read before its shape is known
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError) as error:
        raise StillmotionError(f"cannot read class embeddings from {path} ({error}); pass a .npy file") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise StillmotionError(f"{path} holds no array of real numbers; pass a .npy file of one")
    if array.shape != (classes, embed_dim):
        raise StillmotionError(
            f"{path} holds an array of shape {array.shape}, expected ({classes}, {embed_dim}): one row per class name, "
            "of the width of the CLIP model"
        )
    text = torch.from_numpy(array.astype(np.float32))
    if not bool(torch.isfinite(text).all()):
        raise StillmotionError(f"{path} holds NaN or infinite values; compute the embeddings again")
    if not bool(text.any(dim=1).all()):
        raise StillmotionError(f"{path} has a row of zeros, which is like no class; compute the embeddings again")
    return F.normalize(text, dim=-1)
