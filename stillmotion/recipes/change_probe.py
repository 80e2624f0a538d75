"""The change probe's recipe."""

from stillmotion.methods import ChangeProbe
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train


def change_probe() -> Recipe[ChangeProbe]:
    """A linear layer on how frames change: sees the direction of time, and nothing that stands still.

    stillmotion train change_probe --data my_videos

    Rate and epochs are those of the recipe `evl`, and so is the feature cache, where `evl` ran before.
    """
    return Recipe(method=ChangeProbe(dropout=0.5), train=Train(lr=4e-4, batch_size=8, epochs=15, label_smoothing=0.1))
