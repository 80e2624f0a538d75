"""How the scores of a video's views become those of the video."""

from torch import Tensor

from stillmotion.data.sampling import Average


def average_views(logits_VK: Tensor, how: Average, multi_label: bool = False) -> Tensor:
    """Class probabilities (..., K) of videos from the logits (..., V, K) of their views: the mean of each view's
    softmax, or the softmax of the mean logits, which is the normalized geometric mean of the same.

    Classes of `multi_label` videos do not compete: each has the sigmoid of its own logit.
    """

    def probabilities(logits: Tensor) -> Tensor:
        return logits.sigmoid() if multi_label else logits.softmax(dim=-1)

    if how == "logits":
        return probabilities(logits_VK.mean(dim=-2))
    return probabilities(logits_VK).mean(dim=-2)
