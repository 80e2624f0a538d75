"""EVL's recipes."""

from pathlib import Path

from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.methods import EVL
from stillmotion.recipes.base import Run
from stillmotion.train.config import Train


def evl(data: Path) -> Run[EVL]:
    """EVL for a few dozen to a few thousand clips of your own, from cached features.

    stillmotion train evl --data my_videos

    The temporal modules start at nothing. Where the direction of time decides, `--init motion` (the demo's choice) is
    better, and where it does not, much worse: docs/methods/evl.md.
    """
    return Run(
        method=EVL(init="identity"),
        data=Data(data=data),
        train=Train(lr=4e-4, batch_size=8, epochs=15, label_smoothing=0.1),
    )


def evl_k400_b16_8f(data: Path) -> Run[EVL]:
    """EVL B/16, 8 frames, Kinetics-400. Paper 82.9 top-1 (3x1 views), release 82.8.

    stillmotion train evl_k400_b16_8f --data k400 (with train and val lists inside)

    50,000 steps of 256 clips are 53 passes over 240,436 videos. Frames at a stride of 16, RandAugment and random
    resized crops, no flip. CLIP is frozen, so views are cached: 4 for each clip here, more where the disk holds them.
    """
    return Run(
        method=EVL(init="release"),
        data=Data(data=data),
        train=Train(lr=4e-4, weight_decay=0.05, batch_size=256, epochs=53, precision="fp16"),
        sampling=Sampling(scheme="dense", stride=16, views=3),
        clip="ViT-B-16:openai",
        augment="evl",
        cached_views=4,
    )


def evl_ssv2_b16_8f(data: Path) -> Run[EVL]:
    """EVL B/16, 8 frames, Something-Something v2, 12 decoder layers. Paper 61.0 top-1 (1x3 views).

    stillmotion train evl_ssv2_b16_8f --data ssv2 (with train and val lists inside)

    30,000 steps of 256 clips are 46 passes over 168,913 videos.
    """
    return Run(
        method=EVL(init="release", layers=12),
        data=Data(data=data),
        train=Train(lr=4e-4, weight_decay=0.05, batch_size=256, epochs=46, precision="fp16"),
        sampling=Sampling(crops=3),
        clip="ViT-B-16:openai",
        augment="evl",
        cached_views=4,
    )
