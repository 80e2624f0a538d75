"""The settings that ViFi-CLIP and X-CLIP share: one pipeline, four kinds of experiment."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.methods import Method
from stillmotion.recipes.base import Run
from stillmotion.train.config import Train

M = TypeVar("M", bound=Method)

SUPERVISED = Train(
    lr=8e-6,
    weight_decay=0.001,
    betas=(0.9, 0.98),
    batch_size=256,
    micro_batch=4,
    epochs=30,
    warmup=5,
    schedule="overlaid_cosine",
    label_smoothing=0.1,
    mix=True,
    precision="fp16",
)
ZERO_SHOT = replace(SUPERVISED, epochs=10)
FEW_SHOT = replace(SUPERVISED, lr=2e-6, batch_size=64, epochs=50, eval_every=10)
BASE_TO_NOVEL = replace(FEW_SHOT, epochs=11)
OWN_CLIPS = replace(FEW_SHOT, mix=False, precision="fp32", eval_every=1)
ONE_VIEW, TWELVE_VIEWS = Sampling(), Sampling(views=4, crops=3)


def published(
    method: M, data: Path, train: Train, sampling: Sampling = ONE_VIEW, clip: str = "ViT-B-16:openai"
) -> Run[M]:
    """A run of either paper: ImageNet's statistics, crops of several scales, jitter, gray and mirror images.

    A single test crop is the middle of a frame that is a seventh larger: 256 for 224 pixels, 384 for 336.
    """
    return Run(
        method=method,
        data=Data(data=data),
        train=train,
        sampling=sampling,
        clip=clip,
        statistics="imagenet",
        resize="bilinear",
        short_side=384 if "336" in clip else 256,
        augment="vificlip",
        flip=0.5,
    )


def own_clips(method: M, data: Path) -> Run[M]:
    """The few-shot setting without mixing, on CLIP's own statistics; nothing is mirrored."""
    return Run(method=method, data=Data(data=data), train=OWN_CLIPS, clip="ViT-B-16:openai", augment="crop")
