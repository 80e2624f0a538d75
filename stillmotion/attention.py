"""Where a model with a video query looks: attention over space and time (EVL, figure 4)."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stillmotion.classifier import Classifier
from stillmotion.data.dataset import read_views
from stillmotion.errors import StillmotionError
from stillmotion.methods.evl import EVLDecoder


@dataclass(frozen=True)
class AttentionMap:
    """Attention of the video query.

    frames: (T, 3, H, W) float32 RGB in [0, 1], the pixels that the model read; of a tubelet the first frame.
    weights: (layers, heads, T, gh, gw), the part of each head's attention that falls on each patch.
    class_tokens: (layers, heads, T), the part that falls on each frame's class and register tokens; with `weights` it
        sums to one.
    """

    frames: Tensor
    weights: Tensor
    class_tokens: Tensor

    def mean(self) -> Tensor:
        """Attention over patches, (T, gh, gw), averaged over layers and heads."""
        return self.weights.mean(dim=(0, 1))


@torch.inference_mode()
def attention_map(classifier: Classifier, path: str | Path) -> AttentionMap:
    """Show where a trained EVL model looks in a video (one view of it).

    Raises:
        StillmotionError: the model has no video query.
        VideoError: the file cannot be read.
    """
    decoder = getattr(classifier.model, "temporal", None)
    if not isinstance(decoder, EVLDecoder):
        raise StillmotionError(
            "this model has no video query to look through; attention_map needs a model of method evl"
        )
    if decoder.tokens != "all":
        raise StillmotionError(
            f"this model reads {decoder.tokens}, not single patches; attention_map needs --tokens all"
        )
    one_view = replace(classifier.sampling, views=1, crops=1)
    video = read_views(Path(path), classifier.num_frames, one_view, classifier.preprocess)
    weights = decoder.attention(classifier.model.visual(video.to(classifier.device)))[0].cpu()  # (M, H, T, L)
    grid, prefix = classifier.model.visual.grid, decoder.prefix
    mean, std = (torch.tensor(v)[:, None, None] for v in (classifier.preprocess.mean, classifier.preprocess.std))
    frames = (video[0] * std + mean).clamp(0, 1)
    frames = frames.flip(-3) if classifier.preprocess.bgr else frames
    frames = frames[:: len(frames) // weights.shape[2]]  # one for each step of time
    return AttentionMap(frames, weights[..., prefix:].unflatten(-1, grid), weights[..., :prefix].sum(dim=-1))
