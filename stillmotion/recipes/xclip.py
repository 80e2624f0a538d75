"""X-CLIP's recipes.

    stillmotion train xclip_k400_b16_8f --data k400      train and val lists inside

New parts have ten times the rate of the image tower; the text tower is frozen and reads bare class names. Vectors,
biases and position tables are not decayed. Fully supervised models are tested on 4x3 views, the others on one view of
32 frames. The release's four temporal views are random draws, ours are fixed and evenly spread. Paper and release have
no base-to-novel setting: its constants are those of ViFi-CLIP's runs. For UCF-101 and K = 2, 4, 8 ViFi-CLIP's table 3
prints TimeSformer's row instead of X-CLIP's.
"""

from dataclasses import replace

from stillmotion.methods import XCLIP
from stillmotion.recipes.base import Maker, Recipe, row
from stillmotion.recipes.published import NOVEL, SHOTS, Published, printed
from stillmotion.recipes.vifi_xclip import (
    BASE_TO_NOVEL,
    FEW_SHOT,
    SUPERVISED,
    TWELVE_VIEWS,
    ZERO_SHOT,
    of_a_paper,
    of_own_clips,
)
from stillmotion.training.config import Train

Values = tuple[float, ...]


def xclip() -> Recipe[XCLIP]:
    """X-CLIP for your own clips: fine-tunes the image tower, so it wants a GPU and weights with a text tower.

    stillmotion train xclip --data my_videos --backbone ViT-B-16:openai

    The paper's few-shot setting (32 frames, lr 2e-6, 50 epochs, batch 64) with 8 frames and no mixing.
    """
    recipe = of_own_clips(XCLIP(num_frames=8))
    return replace(recipe, train=replace(recipe.train, decay="matrices"))


def _supervised(
    name: str, model: str, frames: int, *, k400: Values = (), k600: Values = (), extra: tuple[Published, ...] = ()
) -> Maker:
    published = printed("table 1", setting="4x3 views", k400=k400) + printed("table 2", setting="4x3 views", k600=k600)
    train = replace(SUPERVISED, decay="matrices")
    recipe = of_a_paper(XCLIP(num_frames=frames), train, published + extra, TWELVE_VIEWS, model)
    return row(name, "X-CLIP", f"{published[0].dataset}, fully supervised", recipe)


def _one_view(name: str, setting: str, train: Train, published: tuple[Published, ...]) -> Maker:
    recipe = of_a_paper(XCLIP(num_frames=32), replace(train, decay="matrices"), published)
    return row(name, "X-CLIP", setting, recipe)


RELEASE = (Published("Kinetics-400", "top-5", 95.7, "4x3 views", "release"),)
ZERO = printed("tables 3, 4", hmdb=(44.6,), ucf=(72.0,), k600=(65.2,))
FEW = printed("table 5", SHOTS, hmdb=(53.0, 57.3, 62.8, 64.0), ucf=(76.4, 83.4, 88.3, 91.4))
FEW += printed("ViFi-CLIP, table 3", SHOTS, ssv2=(3.9, 4.5, 6.8, 10.0))
NEW = printed("ViFi-CLIP, table 2", NOVEL, k400=(74.1, 56.4, 64.0), hmdb=(69.4, 45.5, 55.0))
NEW += printed("ViFi-CLIP, table 2", NOVEL, ucf=(89.9, 58.9, 71.2), ssv2=(8.5, 6.6, 7.4))
PUBLISHED = (
    _supervised("xclip_k400_b32_8f", "ViT-B-32", 8, k400=(80.4, 95.0)),
    _supervised("xclip_k400_b32_16f", "ViT-B-32", 16, k400=(81.1, 95.5)),
    _supervised("xclip_k400_b16_8f", "ViT-B-16", 8, k400=(83.8, 96.7), extra=RELEASE),
    _supervised("xclip_k400_b16_16f", "ViT-B-16", 16, k400=(84.7, 96.8)),
    _supervised("xclip_k400_l14_8f", "ViT-L-14", 8, k400=(87.1, 97.6)),
    _supervised("xclip_k400_l14_336_16f", "ViT-L-14-336", 16, k400=(87.7, 97.4)),
    _supervised("xclip_k600_b16_8f", "ViT-B-16", 8, k600=(85.3, 97.1)),
    _supervised("xclip_k600_b16_16f", "ViT-B-16", 16, k600=(85.8, 97.3)),
    _supervised("xclip_k600_l14_8f", "ViT-L-14", 8, k600=(88.3, 97.7)),
    _one_view("xclip_zero_shot", "Kinetics-400, for other classes", ZERO_SHOT, ZERO),
    _one_view("xclip_few_shot", "few-shot", FEW_SHOT, FEW),
    _one_view("xclip_base_to_novel", "base to novel", BASE_TO_NOVEL, NEW),
)
