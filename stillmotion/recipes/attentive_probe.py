"""The attentive probe's recipe."""

from stillmotion.methods import AttentiveProbe
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train


def attentive_probe() -> Recipe[AttentiveProbe]:
    """One learned query over the tokens of all frames of a frozen CLIP, for your own clips. Sees no order of frames.

    stillmotion train attentive_probe --data my_videos

    On a few dozen clips it needs a warm-up: without one, and at EVL's rate, its loss rises in the first steps and stays
    at chance. The feature cache is that of `evl`, where that ran before. V-JEPA 2's probe is `--blocks 4`.
    """
    train = Train(lr=2e-4, warmup=3, batch_size=8, epochs=30, label_smoothing=0.1)
    return Recipe(method=AttentiveProbe(dropout=0.5), train=train)
