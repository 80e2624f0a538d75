"""From a batch to one loss per clip: where training methods differ."""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from stillmotion.data.dataset import Batch


class Objective(Protocol):
    """A loss per clip, from a model's logits and the batch they came from."""

    def targets(self, batch: Batch, seed: int) -> tuple[object, Tensor]:
        """What the model reads and what it should answer: inputs, and labels (B,) or probabilities (B, K)."""

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits to (B,) losses."""


class CrossEntropy:
    """Cross-entropy with label smoothing, on labels or on mixed ones.

    Args:
        num_classes: K.
        smoothing: probability spread evenly over all K classes.
        mix: draw mixup (alpha 0.8) or CutMix (alpha 1), each half of the time, for every batch (ViFi-CLIP, X-CLIP).
            All frames of a clip are mixed alike; the partner is the next clip of the batch.
    """

    def __init__(self, num_classes: int, smoothing: float = 0.0, mix: bool = False):
        self.smoothing, self.num_classes = smoothing, num_classes
        mixers = [v2.MixUp(alpha=0.8, num_classes=num_classes), v2.CutMix(alpha=1.0, num_classes=num_classes)]
        self._mix = v2.RandomChoice(mixers) if mix else None

    def targets(self, batch: Batch, seed: int) -> tuple[object, Tensor]:
        """Mix videos and labels, if asked to."""
        if self._mix is None:
            return batch.views, batch.labels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            views, labels = self._mix(tv_tensors.Video(batch.views), batch.labels)
        return views.as_subclass(Tensor), labels

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every clip."""
        return F.cross_entropy(logits.float(), targets, label_smoothing=self.smoothing, reduction="none")


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of everything random in one step of one process, so that no generator's state has to be saved."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
