"""The attentive probe's recipe."""

from stillmotion.methods import AttentiveProbe
from stillmotion.recipes.base import Recipe
from stillmotion.training.config import Train


def attentive_probe() -> Recipe[AttentiveProbe]:
    """One learned query over the tokens of all frames of a frozen CLIP, for your own clips. Sees no order of frames.

    stillmotion train attentive_probe --data my_videos

    Rate and epochs are those of the recipe `evl`, and so is the feature cache, where `evl` ran before. V-JEPA 2's probe
    is `--blocks 4`.
    """
    return Recipe(
        method=AttentiveProbe(dropout=0.5), train=Train(lr=4e-4, batch_size=8, epochs=15, label_smoothing=0.1)
    )
