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
from stillmotion.recipes.base import Maker, Recipe, row
from stillmotion.recipes.published import Published, printed
from stillmotion.training.config import Train

B16, L14, L14_336 = "ViT-B-16", "ViT-L-14", "ViT-L-14-336"


def evl() -> Recipe[EVL]:
    """EVL for a few dozen to a few thousand clips of your own, from cached features.

    stillmotion train evl --data my_videos

    The temporal modules start at nothing. Where the direction of time decides, `--init motion` (the demo's choice) is
    better, and where it does not, much worse: docs/methods/evl.md.
    """
    return Recipe(method=EVL(init="identity"), train=Train(lr=4e-4, batch_size=8, epochs=15, label_smoothing=0.1))


def _recipe(method: EVL, model: str, epochs: int, sampling: Sampling, published: tuple[Published, ...]) -> Recipe[EVL]:
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


def _k400(name: str, model: str, frames: int, paper: tuple[float, ...], release: tuple[float, ...] = ()) -> Maker:
    short = frames == 8
    sampling = Sampling(
        scheme="dense", stride=8 if frames == 32 else 16, views=3 if short else 1, crops=1 if short else 3
    )
    setting = "3x1 views" if short else "1x3 views"
    published = printed("table 1", setting=setting, k400=paper) + printed("release", setting=setting, k400=release)
    method = EVL(init="release", num_frames=frames)
    return row(name, "EVL", "Kinetics-400", _recipe(method, model, 53, sampling, published))


def _ssv2(name: str, model: str, frames: int, layers: int, paper: float) -> Maker:
    method = EVL(init="release", num_frames=frames, layers=layers)
    published = printed("table 9", setting="1x3 views", ssv2=(paper,))
    recipe = _recipe(method, model, 46, Sampling(scheme="evl_segments", crops=3), published)
    return row(name, "EVL", f"Something-Something v2, {layers} decoder layers", recipe)


PUBLISHED = (
    _k400("evl_k400_b16_8f", B16, 8, (82.9,), release=(82.8, 95.8)),
    _k400("evl_k400_b16_16f", B16, 16, (83.6,), release=(83.7, 96.2)),
    _k400("evl_k400_b16_32f", B16, 32, (84.2,), release=(84.3, 96.6)),
    _k400("evl_k400_l14_8f", L14, 8, (86.3,), release=(86.3, 97.2)),
    _k400("evl_k400_l14_16f", L14, 16, (87.0,), release=(86.9, 97.4)),
    _k400("evl_k400_l14_32f", L14, 32, (87.3,), release=(87.7, 97.6)),
    _k400("evl_k400_l14_336_32f", L14_336, 32, (87.7, 97.8)),
    _ssv2("evl_ssv2_b16_8f", B16, 8, 12, 61.0),
    _ssv2("evl_ssv2_b16_16f", B16, 16, 12, 61.7),
    _ssv2("evl_ssv2_b16_32f", B16, 32, 12, 62.4),
    _ssv2("evl_ssv2_l14_8f", L14, 8, 24, 65.1),
    _ssv2("evl_ssv2_l14_32f", L14, 32, 24, 66.7),
    _ssv2("evl_ssv2_l14_336_32f", L14_336, 32, 24, 68.0),
)
