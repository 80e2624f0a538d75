"""Recipes of ViFi-CLIP, of CLIP image-FT and text-FT, and of the prompts that are learned on top (*bridge and prompt*).

    stillmotion train vificlip_k400 --data k400          train and val lists inside
    stillmotion train vificlip_few_shot --data hmdb_train_2_shot.txt --val hmdb_val.txt --labels hmdb_labels.csv

Fully supervised: 16 frames, 4x3 views; the release's four temporal views are random draws, ours are fixed and evenly
spread. All others: 32 frames, one view. Few-shot training takes K clips of each class; base-to-novel training 16 of
each of the more frequent half of the classes (base), and the other half (novel) is new to the model. HM is their
harmonic mean. The release mirrors clips of Something-Something v2 too, where left and right matter.
"""

from dataclasses import replace
from typing import Literal

from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Recipe
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
from stillmotion.train.config import Train

Values = tuple[float, ...]
Tuned = Literal["full", "image", "text"]


def vificlip() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP for your own clips: fine-tunes all of CLIP, so it wants a GPU and weights with a text tower.

    stillmotion train vificlip --data my_videos --backbone ViT-B-16:openai

    The paper's few-shot setting (32 frames, lr 2e-6, 50 epochs, batch 64) with 8 frames and no mixing.
    """
    return of_own_clips(ViFiCLIP(num_frames=8))


def _supervised(tuned: Tuned, *values: float) -> Recipe[ViFiCLIP]:
    train = replace(SUPERVISED, lr=2.2e-5, batch_size=512) if tuned == "full" else SUPERVISED
    published = printed("table 4", setting="4x3 views", k400=values)
    return of_a_paper(ViFiCLIP(num_frames=16, tuned=tuned), train, published, TWELVE_VIEWS)


def _one_view(tuned: Tuned, train: Train, published: tuple[Published, ...]) -> Recipe[ViFiCLIP]:
    return of_a_paper(ViFiCLIP(num_frames=32, tuned=tuned), train, published)


def _few_shot(tuned: Tuned, hmdb: Values, ucf: Values, ssv2: Values) -> Recipe[ViFiCLIP]:
    return _one_view(tuned, FEW_SHOT, printed("table 3", SHOTS, hmdb=hmdb, ucf=ucf, ssv2=ssv2))


def _base_to_novel(tuned: Tuned, k400: Values, hmdb: Values, ucf: Values, ssv2: Values) -> Recipe[ViFiCLIP]:
    return _one_view(tuned, BASE_TO_NOVEL, printed("table 2", NOVEL, k400=k400, hmdb=hmdb, ucf=ucf, ssv2=ssv2))


def _prompts(count: int, depth: int) -> ViFiCLIP:
    return ViFiCLIP(
        num_frames=32,
        tuned="prompts",
        vision_prompts=count,
        text_prompts=count,
        vision_depth=depth,
        text_depth=depth,
    )


def vificlip_k400() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP B/16, 16 frames, Kinetics-400, fully supervised."""
    return _supervised("full", 83.9, 96.3)


def image_ft_k400() -> Recipe[ViFiCLIP]:
    """CLIP image-FT B/16, 16 frames, Kinetics-400, fully supervised."""
    return _supervised("image", 82.8, 96.2)


def text_ft_k400() -> Recipe[ViFiCLIP]:
    """CLIP text-FT B/16, 16 frames, Kinetics-400, fully supervised."""
    return _supervised("text", 73.1, 91.2)


def vificlip_zero_shot() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP B/16, Kinetics-400, to be used on other classes.

    The first stage of the recipes `vificlip_prompts_...`.
    """
    return _one_view("full", ZERO_SHOT, printed("table 1", hmdb=(51.3,), ucf=(76.8,), k600=(71.2,)))


def image_ft_zero_shot() -> Recipe[ViFiCLIP]:
    """CLIP image-FT B/16, Kinetics-400, for other classes."""
    published = printed("table 1", hmdb=(49.0,), ucf=(72.9,), k600=(62.4,)) + printed("release", k600=(62.2,))
    return _one_view("image", ZERO_SHOT, published)


def text_ft_zero_shot() -> Recipe[ViFiCLIP]:
    """CLIP text-FT B/16, Kinetics-400, for other classes."""
    return _one_view("text", ZERO_SHOT, printed("table 1", hmdb=(48.5,), ucf=(69.8,), k600=(68.5,)))


def vificlip_few_shot() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP B/16, few-shot."""
    return _few_shot("full", (57.2, 62.7, 64.5, 66.8), (80.7, 85.1, 90.0, 92.7), (6.2, 7.4, 8.5, 12.4))


def image_ft_few_shot() -> Recipe[ViFiCLIP]:
    """CLIP image-FT B/16, few-shot."""
    return _few_shot("image", (49.6, 54.9, 57.8, 62.0), (74.4, 79.1, 85.3, 90.5), (4.9, 6.0, 7.2, 10.4))


def text_ft_few_shot() -> Recipe[ViFiCLIP]:
    """CLIP text-FT B/16, few-shot."""
    return _few_shot("text", (54.5, 61.6, 63.1, 65.0), (80.1, 82.8, 85.8, 88.1), (6.2, 6.1, 6.3, 9.1))


def vificlip_base_to_novel() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP B/16, base to novel."""
    return _base_to_novel("full", (76.4, 61.1, 67.9), (73.8, 53.3, 61.9), (92.9, 67.7, 78.3), (16.2, 12.1, 13.9))


def image_ft_base_to_novel() -> Recipe[ViFiCLIP]:
    """CLIP image-FT B/16, base to novel."""
    return _base_to_novel("image", (72.9, 58.0, 64.6), (62.6, 47.5, 54.0), (86.4, 65.3, 74.4), (9.2, 8.5, 8.8))


def text_ft_base_to_novel() -> Recipe[ViFiCLIP]:
    """CLIP text-FT B/16, base to novel."""
    return _base_to_novel("text", (73.4, 59.7, 65.8), (70.0, 51.2, 59.1), (90.9, 67.4, 77.4), (12.4, 9.5, 10.8))


def vificlip_prompts_few_shot() -> Recipe[ViFiCLIP]:
    """Prompts for ViFi-CLIP, few-shot.

    stillmotion train vificlip_prompts_few_shot --data ucf.txt --start-from STAGE1/model.safetensors

    The second stage of *bridge and prompt*: STAGE1 is the run of `vificlip_zero_shot`, whose model is frozen here.
    """
    published = printed(
        "table 7", SHOTS, hmdb=(63.0, 65.1, 69.6, 72.0), ucf=(91.0, 93.7, 95.0, 96.4), ssv2=(6.7, 7.9, 10.2, 13.5)
    )
    return of_a_paper(_prompts(10, depth=12), replace(FEW_SHOT, lr=8e-3), published)


def vificlip_prompts_base_to_novel() -> Recipe[ViFiCLIP]:
    """Prompts for ViFi-CLIP, base to novel.

    stillmotion train vificlip_prompts_base_to_novel --data ucf.txt --start-from STAGE1/model.safetensors

    The second stage of *bridge and prompt*: STAGE1 is the run of `vificlip_zero_shot`, whose model is frozen here.
    """
    published = printed("table 8", NOVEL, hmdb=(77.1, 54.9, 64.1), ucf=(95.9, 74.1, 83.6), ssv2=(15.8, 11.5, 13.3))
    return of_a_paper(_prompts(16, depth=9), replace(BASE_TO_NOVEL, lr=4e-2), published)
