"""Losses where a video has any number of the classes: binary cross-entropy, and the asymmetric loss."""

import torch.nn.functional as F
from torch import Tensor

from stillmotion.data.dataset import Batch
from stillmotion.errors import StillmotionError
from stillmotion.training.config import Train

SMALLEST = 1e-8
"""Below this a probability counts as this, as in the release of the asymmetric loss."""


class MultiLabel:
    """One yes-or-no question for each class; the loss of a clip is summed over them (Ridnik et al. 2021, equation 2).

    `table` (N, K) is 1 where clip N of the training set has label K.
    """

    def __init__(self, table: Tensor, train: Train):
        self.table, self.kind = table, train.multi_label_loss
        (self.positive, self.negative), self.margin = train.focus, train.margin

    def targets(self, batch: Batch, seed: int) -> tuple[object, Tensor]:
        """Videos as they are, and their labels (B, K)."""
        return batch.views, self.table[batch.indices].to(batch.labels.device)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) logits and labels to (B,) losses."""
        if self.kind == "bce":
            return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(dim=-1)
        return asymmetric_loss(logits.float(), targets, self.positive, self.negative, self.margin).sum(dim=-1)


def asymmetric_loss(
    logits: Tensor, targets: Tensor, positive: float = 1.0, negative: float = 4.0, margin: float = 0.05
) -> Tensor:
    """The asymmetric loss of every class (Ridnik et al. 2021, equations 4 to 7).

    Args:
        logits, targets: (..., K), targets 0 or 1.
        positive, negative: gamma+ and gamma-, how much easy positives and negatives are discounted.
        margin: what the probability of a negative is lowered by, at least to 0: below it a negative costs nothing.
    """
    p = logits.sigmoid()
    shifted = (p - margin).clamp(min=0)
    yes = (1 - p) ** positive * F.logsigmoid(logits)
    no = shifted**negative * (1 - shifted).clamp(min=SMALLEST).log()
    return -(targets * yes + (1 - targets) * no)


def make_multi_label(table: Tensor, train: Train, needs_text: bool) -> MultiLabel:
    """The loss for clips with these labels (N, K).
    Raises `StillmotionError`: a method or options that are for one label of each video.
    """
    if needs_text:
        raise StillmotionError(
            "videos have several labels, and this method makes class names compete for each video; train a method with "
            "a linear head"
        )
    given = {
        "--mix": train.mix,
        "--label-smoothing": train.label_smoothing,
        "--logit-adjustment": train.logit_adjustment,
        "--sampler balanced": train.sampler == "balanced",
    }
    if wrong := [name for name, value in given.items() if value]:
        raise StillmotionError(f"videos have several labels, and {wrong[0]} is for one of each; leave it out")
    return MultiLabel(table, train)
