"""EVL's recipes.

    stillmotion train evl_k400_b16_8f --data k400      train and val lists inside

RandAugment and random resized crops, no flip. CLIP is frozen, so views are cached: 4 for each clip here, more where
the disk holds them. A view of B/16 with 8 frames takes 14 MB, so a smaller set fits a disk and all of Kinetics-400 few
disks; the run says how much it needs before it reads a video.

50,000 steps of 256 clips are 53 passes over the 240,436 videos of Kinetics-400, and 30,000 are 46 over the 168,913 of
Something-Something v2. The FLOPs that the paper prints for B/16 on Kinetics-400 are those of `--no-cross-attention`.
"""

from stillmotion.data.sampling import Sampling
from stillmotion.methods import EVL
from stillmotion.recipes.base import Recipe
from stillmotion.recipes.published import Published, printed
from stillmotion.train.config import Train

L14, L14_336 = "ViT-L-14", "ViT-L-14-336"


def evl() -> Recipe[EVL]:
    """EVL for a few dozen to a few thousand clips of your own, from cached features.

    stillmotion train evl --data my_videos

    The temporal modules start at nothing. Where the direction of time decides, `--init motion` (the demo's choice) is
    better, and where it does not, much worse: docs/methods/evl.md.
    """
    return Recipe(method=EVL(init="identity"), train=Train(lr=4e-4, batch_size=8, epochs=15, label_smoothing=0.1))


def _recipe(method: EVL, model: str, sampling: Sampling, epochs: int, published: tuple[Published, ...]) -> Recipe[EVL]:
    return Recipe(
        method=method,
        train=Train(lr=4e-4, weight_decay=0.05, batch_size=256, epochs=epochs, precision="fp16"),
        sampling=sampling,
        backbone=f"{model}:openai",
        resize="bilinear",
        augment="evl",
        cached_views=4,
        published=published,
    )


def _k400(
    frames: int, model: str = "ViT-B-16", *, paper: tuple[float, ...], release: tuple[float, ...] = ()
) -> Recipe[EVL]:
    short = frames == 8
    sampling = Sampling(
        scheme="dense", stride=8 if frames == 32 else 16, views=3 if short else 1, crops=1 if short else 3
    )
    setting = "3x1 views" if short else "1x3 views"
    published = printed("table 1", setting=setting, k400=paper) + printed("release", setting=setting, k400=release)
    return _recipe(EVL(init="release", num_frames=frames), model, sampling, 53, published)


def _ssv2(frames: int, layers: int, model: str = "ViT-B-16", *, paper: float) -> Recipe[EVL]:
    method = EVL(init="release", num_frames=frames, layers=layers)
    published = printed("table 9", setting="1x3 views", ssv2=(paper,))
    return _recipe(method, model, Sampling(scheme="evl_segments", crops=3), 46, published)


def evl_k400_b16_8f() -> Recipe[EVL]:
    """EVL B/16, 8 frames, Kinetics-400."""
    return _k400(8, paper=(82.9,), release=(82.8, 95.8))


def evl_k400_b16_16f() -> Recipe[EVL]:
    """EVL B/16, 16 frames, Kinetics-400."""
    return _k400(16, paper=(83.6,), release=(83.7, 96.2))


def evl_k400_b16_32f() -> Recipe[EVL]:
    """EVL B/16, 32 frames, Kinetics-400."""
    return _k400(32, paper=(84.2,), release=(84.3, 96.6))


def evl_k400_l14_8f() -> Recipe[EVL]:
    """EVL L/14, 8 frames, Kinetics-400."""
    return _k400(8, L14, paper=(86.3,), release=(86.3, 97.2))


def evl_k400_l14_16f() -> Recipe[EVL]:
    """EVL L/14, 16 frames, Kinetics-400."""
    return _k400(16, L14, paper=(87.0,), release=(86.9, 97.4))


def evl_k400_l14_32f() -> Recipe[EVL]:
    """EVL L/14, 32 frames, Kinetics-400."""
    return _k400(32, L14, paper=(87.3,), release=(87.7, 97.6))


def evl_k400_l14_336_32f() -> Recipe[EVL]:
    """EVL L/14 at 336 pixels, 32 frames, Kinetics-400."""
    return _k400(32, L14_336, paper=(87.7, 97.8))


def evl_ssv2_b16_8f() -> Recipe[EVL]:
    """EVL B/16, 8 frames, Something-Something v2, 12 decoder layers."""
    return _ssv2(8, 12, paper=61.0)


def evl_ssv2_b16_16f() -> Recipe[EVL]:
    """EVL B/16, 16 frames, Something-Something v2, 12 decoder layers."""
    return _ssv2(16, 12, paper=61.7)


def evl_ssv2_b16_32f() -> Recipe[EVL]:
    """EVL B/16, 32 frames, Something-Something v2, 12 decoder layers."""
    return _ssv2(32, 12, paper=62.4)


def evl_ssv2_l14_8f() -> Recipe[EVL]:
    """EVL L/14, 8 frames, Something-Something v2, 24 decoder layers."""
    return _ssv2(8, 24, L14, paper=65.1)


def evl_ssv2_l14_32f() -> Recipe[EVL]:
    """EVL L/14, 32 frames, Something-Something v2, 24 decoder layers."""
    return _ssv2(32, 24, L14, paper=66.7)


def evl_ssv2_l14_336_32f() -> Recipe[EVL]:
    """EVL L/14 at 336 pixels, 32 frames, Something-Something v2, 24 layers."""
    return _ssv2(32, 24, L14_336, paper=68.0)
