"""EVL's recipes.

    stillmotion train evl_k400_b16_8f --data k400      train and val lists inside

RandAugment and random resized crops, no flip. CLIP is frozen, so views are cached: 4 for each clip here, more where
the disk holds them. A view of B/16 with 8 frames takes 14 MB, so a smaller set fits a disk and all of Kinetics-400 few
disks; the run says how much it needs before it reads a video.

50,000 steps of 256 clips are 53 passes over the 240,436 videos of Kinetics-400, and 30,000 are 46 over the 168,913 of
Something-Something v2. The FLOPs that the paper prints for B/16 on Kinetics-400 are those of `--no-cross-attention`.
"""

from pathlib import Path

from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.methods import EVL
from stillmotion.recipes.base import Run
from stillmotion.train.config import Train

L14, L14_336 = "ViT-L-14", "ViT-L-14-336"


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


def _run(data: Path, method: EVL, model: str, sampling: Sampling, epochs: int) -> Run[EVL]:
    return Run(
        method=method,
        data=Data(data=data),
        train=Train(lr=4e-4, weight_decay=0.05, batch_size=256, epochs=epochs, precision="fp16"),
        sampling=sampling,
        clip=f"{model}:openai",
        resize="bilinear",
        augment="evl",
        cached_views=4,
    )


def _k400(data: Path, frames: int, model: str = "ViT-B-16") -> Run[EVL]:
    short = frames == 8
    sampling = Sampling(
        scheme="dense", stride=8 if frames == 32 else 16, views=3 if short else 1, crops=1 if short else 3
    )
    return _run(data, EVL(init="release", num_frames=frames), model, sampling, epochs=53)


def _ssv2(data: Path, frames: int, layers: int, model: str = "ViT-B-16") -> Run[EVL]:
    method = EVL(init="release", num_frames=frames, layers=layers)
    return _run(data, method, model, Sampling(scheme="evl_segments", crops=3), epochs=46)


def evl_k400_b16_8f(data: Path) -> Run[EVL]:
    """EVL B/16, 8 frames, Kinetics-400. Paper 82.9 top-1 (3x1 views, table 1), release 82.8."""
    return _k400(data, 8)


def evl_k400_b16_16f(data: Path) -> Run[EVL]:
    """EVL B/16, 16 frames, Kinetics-400. Paper 83.6 top-1 (1x3 views, table 1), release 83.7."""
    return _k400(data, 16)


def evl_k400_b16_32f(data: Path) -> Run[EVL]:
    """EVL B/16, 32 frames, Kinetics-400. Paper 84.2 top-1 (1x3 views, table 1), release 84.3."""
    return _k400(data, 32)


def evl_k400_l14_8f(data: Path) -> Run[EVL]:
    """EVL L/14, 8 frames, Kinetics-400. Paper 86.3 top-1 (3x1 views, table 1), release 86.3."""
    return _k400(data, 8, L14)


def evl_k400_l14_16f(data: Path) -> Run[EVL]:
    """EVL L/14, 16 frames, Kinetics-400. Paper 87.0 top-1 (1x3 views, table 1), release 86.9."""
    return _k400(data, 16, L14)


def evl_k400_l14_32f(data: Path) -> Run[EVL]:
    """EVL L/14, 32 frames, Kinetics-400. Paper 87.3 top-1 (1x3 views, table 1), release 87.7."""
    return _k400(data, 32, L14)


def evl_k400_l14_336_32f(data: Path) -> Run[EVL]:
    """EVL L/14 at 336 pixels, 32 frames, Kinetics-400. Paper 87.7 top-1, 97.8 top-5 (1x3 views, table 1)."""
    return _k400(data, 32, L14_336)


def evl_ssv2_b16_8f(data: Path) -> Run[EVL]:
    """EVL B/16, 8 frames, Something-Something v2, 12 decoder layers. Paper 61.0 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 8, 12)


def evl_ssv2_b16_16f(data: Path) -> Run[EVL]:
    """EVL B/16, 16 frames, Something-Something v2, 12 decoder layers. Paper 61.7 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 16, 12)


def evl_ssv2_b16_32f(data: Path) -> Run[EVL]:
    """EVL B/16, 32 frames, Something-Something v2, 12 decoder layers. Paper 62.4 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 32, 12)


def evl_ssv2_l14_8f(data: Path) -> Run[EVL]:
    """EVL L/14, 8 frames, Something-Something v2, 24 decoder layers. Paper 65.1 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 8, 24, L14)


def evl_ssv2_l14_32f(data: Path) -> Run[EVL]:
    """EVL L/14, 32 frames, Something-Something v2, 24 decoder layers. Paper 66.7 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 32, 24, L14)


def evl_ssv2_l14_336_32f(data: Path) -> Run[EVL]:
    """EVL L/14 at 336 pixels, 32 frames, Something-Something v2, 24 layers. Paper 68.0 top-1 (1x3 views, table 9)."""
    return _ssv2(data, 32, 24, L14_336)
