"""Where a model with a video query looks: attention over space and time (EVL, figure 4).

A temporal module that has one offers `attention(features)`: (B, layers, heads, T, L) over the L tokens of each frame,
summing to one over T and L. No other module needs to.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stillmotion.classifier import Classifier
from stillmotion.data.dataset import read_views
from stillmotion.errors import StillmotionError


@dataclass(frozen=True)
class AttentionMap:
    """Attention of the video query.

    frames: (T, 3, H, W) float32 RGB in [0, 1], the pixels that the model read.
    weights: (layers, heads, T, gh, gw), the part of each head's attention that falls on each patch.
    class_tokens: (layers, heads, T), the part that falls on tokens that are no patches; with `weights` it sums to one.
    """

    frames: Tensor
    weights: Tensor
    class_tokens: Tensor

    def mean(self) -> Tensor:
        """Attention over patches, (T, gh, gw), averaged over layers and heads."""
        return self.weights.mean(dim=(0, 1))


@torch.inference_mode()
def attention_map(classifier: Classifier, path: str | Path) -> AttentionMap:
    """Show where a trained model looks in a video (one view of it).
    Raises `StillmotionError`: the model has no video query, or one that does not read patches; `VideoError`: the file
    cannot be read.
    """
    look = getattr(getattr(classifier.model, "temporal", None), "attention", None)
    if look is None:
        raise StillmotionError(
            "this model has no video query to look through; attention_map needs one whose temporal module has "
            "`attention`, such as evl's"
        )
    one_view = replace(classifier.sampling, views=1, crops=1)
    video = read_views(Path(path), classifier.num_frames, one_view, classifier.preprocess)
    tower = classifier.model.visual
    weights = look(tower(video.to(classifier.device)))[0].cpu()  # (M, H, T, L)
    patches = tower.grid[0] * tower.grid[1]
    if weights.shape[-2:] != (len(video[0]), tower.prefix_tokens + patches):
        raise StillmotionError(
            "this model reads averages of tokens, not single patches; attention_map needs one that does"
        )
    mean, std = (torch.tensor(v)[:, None, None] for v in (classifier.preprocess.mean, classifier.preprocess.std))
    frames = (video[0] * std + mean).clamp(0, 1)
    frames = frames.flip(-3) if classifier.preprocess.bgr else frames
    others, seen = weights.split((tower.prefix_tokens, patches), dim=-1)
    return AttentionMap(frames, seen.unflatten(-1, tower.grid), others.sum(dim=-1))
