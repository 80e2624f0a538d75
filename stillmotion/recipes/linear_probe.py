"""Recipes of the linear probe: the baselines to print beside every other number."""

from dataclasses import replace

from stillmotion.methods import LinearProbe
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train


def linear_probe() -> Recipe[LinearProbe]:
    """A linear layer on mean-pooled CLIP embeddings. Sees no order of frames.

    stillmotion train linear_probe --data my_videos
    """
    return Recipe(method=LinearProbe(), train=Train(lr=3e-3, weight_decay=0.01, batch_size=8, epochs=20))


def single_frame() -> Recipe[LinearProbe]:
    """The same on the middle frame alone: how much of a data set needs no video at all.

    stillmotion train single_frame --data my_videos
    """
    return replace(linear_probe(), method=LinearProbe(num_frames=1))
