"""Videos with several labels: how lists write them, and what becomes of them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stillmotion.data.manifest import Clip, Manifest
from stillmotion.errors import DataError


def hot(clips: Sequence[Clip], classes: int) -> Tensor:
    """1 where a clip has a label, (N, K) float32."""
    found = torch.zeros(len(clips), classes)
    for row, clip in zip(found, clips):
        row[list(clip.every)] = 1
    return found


def refuse_several(manifest: Manifest, what: str) -> None:
    """Refuse clips with several labels. Raises `DataError`: they have."""
    if manifest.multi_label:
        raise DataError(
            f"videos have several labels (a|b), and {what} takes one of each; list each video with one label, or use "
            "stillmotion train with evl, step or a probe"
        )


def as_scored(manifest: Manifest, several: bool) -> Manifest:
    """Clips to score a model on that says `several` labels a video, or one; of clips with one label the first may be
    all of them. Raises `DataError`: the clips have several, and the model says one.
    """
    if not several:
        refuse_several(manifest, "the model")
        return manifest
    return replace(manifest, clips=tuple(replace(clip, labels=clip.every) for clip in manifest.clips))
