"""From a batch to one loss per clip: where training methods differ."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from stillmotion.data.dataset import Batch
from stillmotion.data.seeds import drawn_from
from stillmotion.errors import StillmotionError
from stillmotion.training.config import Train


class Objective(Protocol):
    """A loss per clip, from a model's logits and the batch they came from; each clip is compared with all classes."""

    def targets(self, batch: Batch, seed: int) -> tuple[object, Tensor]:
        """What the model reads and what it should answer: inputs, and labels (B,) or probabilities (B, K)."""

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits to (B,) losses."""


class CrossEntropy:
    """Cross-entropy with label smoothing, on labels or on mixed ones.

    Args:
        smoothing: probability spread evenly over all K classes.
        mix: draw mixup (alpha 0.8) or CutMix (alpha 1), each half of the time, for every batch (ViFi-CLIP, X-CLIP).
            All frames of a clip are mixed alike; the partner is the next clip of the batch.
        adjust: (K,) added to the logits, in training alone; None: nothing.
    """

    def __init__(self, num_classes: int, smoothing: float = 0.0, mix: bool = False, adjust: Tensor | None = None):
        self.adjust = adjust
        self.smoothing, self.num_classes = smoothing, num_classes
        mixers = [v2.MixUp(alpha=0.8, num_classes=num_classes), v2.CutMix(alpha=1.0, num_classes=num_classes)]
        self._mix = v2.RandomChoice(mixers) if mix else None

    def targets(self, batch: Batch, seed: int) -> tuple[object, Tensor]:
        """Mix videos and labels, if asked to."""
        if self._mix is None:
            return batch.views, batch.labels
        with drawn_from(seed):
            views, labels = self._mix(tv_tensors.Video(batch.views), batch.labels)
        return views.as_subclass(Tensor), labels

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every clip."""
        logits = logits.float()
        if self.adjust is not None:
            logits = logits + self.adjust.to(logits.device)
        return F.cross_entropy(logits, targets, label_smoothing=self.smoothing, reduction="none")


def log_prior(counts: Sequence[int], tau: float) -> Tensor:
    """Tau times the log of each class's share of the training clips, (K,) (Menon et al. 2021, equation 10).
    Raises `StillmotionError`: a class without clips, whose share has no logarithm.
    """
    if 0 in counts:
        raise StillmotionError(
            f"logit-adjustment is {tau:g} and {counts.count(0)} of {len(counts)} classes have no training clips; leave "
            "it out, or those classes"
        )
    return torch.tensor([tau * math.log(n / sum(counts)) for n in counts])


class Contrastive:
    """ActionCLIP's loss: videos and prompts of a batch find each other, and equal labels are all right answers.

    Each clip draws one of the templates. The target is a softmax over ten times the matrix of equal labels, and the
    loss the mean of two Kullback-Leibler divergences, from videos to prompts and from prompts to videos. The clips of a
    step are compared over all its passes and processes (`training/comparison.py`).
    """

    def prompts(self, tokens: Tensor, labels: Tensor, seed: int, places: Sequence[int]) -> Tensor:
        """One prompt per clip, (B, S), of (K, S) or of N templates (N, K, S), as drawn for its place in the batch."""
        if tokens.ndim == 2:
            return tokens[labels]
        drawn = np.random.RandomState(seed % 2**32).randint(tokens.shape[0], size=1 + max(places))[list(places)]
        return tokens[torch.from_numpy(drawn).to(tokens.device), labels]

    def compare(self, labels: Tensor) -> Tensor:
        """1 where the labels of two clips are equal, (B, B)."""
        return (labels[:, None] == labels[None]).float()

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, B) similarities to the share of every clip in the two divergences, (B,)."""
        expected = (10 * targets).softmax(dim=-1)
        both = [F.kl_div(s.float().log_softmax(-1), expected, reduction="none").sum(-1) for s in (logits, logits.T)]
        return (both[0] + both[1]) / 2


def make_objective(
    kind: Literal["cross_entropy", "contrastive"], counts: Sequence[int], train: Train
) -> Objective | Contrastive:
    """The loss that a method is trained with on so many clips of each class.
    Raises `StillmotionError`: options that the contrastive loss has no place for, or a single clip in a batch.
    """
    if kind == "cross_entropy":
        adjust = log_prior(counts, train.logit_adjustment) if train.logit_adjustment else None
        return CrossEntropy(len(counts), train.label_smoothing, train.mix, adjust)
    if train.mix or train.label_smoothing or train.logit_adjustment:
        raise StillmotionError(
            "the contrastive loss takes no --mix, no --label-smoothing and no --logit-adjustment; leave them out"
        )
    if train.batch_size < 2:
        raise StillmotionError(
            f"the contrastive loss compares the clips of a batch, and batch-size is {train.batch_size}; pass more"
        )
    return Contrastive()


def plant(seed: int, device: torch.device) -> None:
    """Let what PyTorch draws on a device start from a seed."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # the same draws; `torch.manual_seed` notes its caller for a GPU
    else:
        torch.manual_seed(seed)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of everything random in one step of one process, so that no generator's state has to be saved."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
