"""Vanilla CLIP: nothing to train, so `stillmotion eval` and `predict` are its commands."""

from pathlib import Path

from stillmotion.data.source import Data
from stillmotion.methods import ZeroShot
from stillmotion.recipes.base import Run
from stillmotion.train.config import Train


def zero_shot(data: Path) -> Run[ZeroShot]:
    """Vanilla CLIP B/16 by class names. ViFi-CLIP's table 1: UCF-101 63.2, HMDB-51 40.8 (32 frames, bare names).

    stillmotion eval zero_shot --data my_videos
    """
    return Run(method=ZeroShot(), data=Data(data=data), train=Train(), clip="ViT-B-16:openai")
