"""The settings that ViFi-CLIP and X-CLIP share: one pipeline, four kinds of experiment."""

from dataclasses import replace
from typing import TypeVar

from stillmotion.data.sampling import Sampling
from stillmotion.methods import Method
from stillmotion.recipes.base import Recipe
from stillmotion.recipes.published import Published
from stillmotion.training.config import Train

M = TypeVar("M", bound=Method)

SUPERVISED = Train(
    lr=8e-6, weight_decay=0.001, betas=(0.9, 0.98), batch_size=256, micro_batch=4, epochs=30, warmup=5,
    schedule="overlaid_cosine", label_smoothing=0.1, mix=True, precision="fp16",
)  # fmt: skip
ZERO_SHOT = replace(SUPERVISED, epochs=10)
FEW_SHOT = replace(SUPERVISED, lr=2e-6, batch_size=64, epochs=50, eval_every=10)
BASE_TO_NOVEL = replace(FEW_SHOT, epochs=11)
ONE_VIEW, TWELVE_VIEWS = Sampling(), Sampling(views=4, crops=3)


def of_a_paper(
    method: M, train: Train, published: tuple[Published, ...], sampling: Sampling = ONE_VIEW, model: str = "ViT-B-16"
) -> Recipe[M]:
    """A recipe of either paper: ImageNet's statistics, crops of several scales, jitter, gray and mirror images.

    A single test crop is the middle of a frame that is a seventh larger: 256 for 224 pixels, 384 for 336.
    """
    return Recipe(
        method=method,
        train=train,
        sampling=sampling,
        backbone=f"{model}:openai",
        statistics="imagenet",
        resize="bilinear",
        short_side=384 if "336" in model else 256,
        augment="vificlip",
        flip=0.5,
        published=published,
    )


def of_own_clips(method: M) -> Recipe[M]:
    """The few-shot setting without mixing, on CLIP's own statistics; nothing is mirrored."""
    train = replace(FEW_SHOT, mix=False, precision="fp32", eval_every=1)
    return Recipe(method=method, train=train, backbone="ViT-B-16:openai", augment="crop")
