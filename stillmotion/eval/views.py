"""How the scores of a video's views become those of the video."""

from torch import Tensor

from stillmotion.data.sampling import Average


def average_views(logits_VK: Tensor, how: Average) -> Tensor:
    """Class probabilities (..., K) of videos from the logits (..., V, K) of their views: the mean of each view's
    softmax, or the softmax of the mean logits, which is the normalized geometric mean of the same.
    """
    if how == "logits":
        return logits_VK.mean(dim=-2).softmax(dim=-1)
    return logits_VK.softmax(dim=-1).mean(dim=-2)
