"""STEP's recipe."""

from stillmotion.methods import Step
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train


def step() -> Recipe[Step]:
    """STEP on a frozen CLIP for your own clips: a third of the attentive probe, and it sees the order of frames.

    stillmotion train step --data my_videos

    The rate is that of the recipe `evl`, and so is the feature cache, where `evl` ran before. Where order is
    all that tells classes apart, `--position-std 0.3` starts with positions as loud as the tokens.
    """
    return Recipe(method=Step(dropout=0.5), train=Train(lr=4e-4, batch_size=8, epochs=30, label_smoothing=0.1))
