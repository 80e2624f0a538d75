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

Tuned = Literal["full", "image", "text"]
Values = tuple[float, ...]
VARIANTS: dict[str, tuple[Tuned, str]] = {
    "vificlip": ("full", "ViFi-CLIP"), "image_ft": ("image", "CLIP image-FT"), "text_ft": ("text", "CLIP text-FT")
}  # fmt: skip
STAGE_TWO = """stillmotion train {} --data ucf.txt --start-from STAGE1/model.safetensors

The second stage of *bridge and prompt*: STAGE1 is the run of `vificlip_zero_shot`, whose model is frozen here."""


def vificlip() -> Recipe[ViFiCLIP]:
    """ViFi-CLIP for your own clips: fine-tunes all of CLIP, so it wants a GPU and weights with a text tower.

    stillmotion train vificlip --data my_videos --backbone ViT-B-16:openai

    The paper's few-shot setting (32 frames, lr 2e-6, 50 epochs, batch 64) with 8 frames and no mixing.
    """
    return of_own_clips(ViFiCLIP(num_frames=8))


def _supervised(variant: str, *values: float) -> Maker:
    tuned, title = VARIANTS[variant]
    train = replace(SUPERVISED, lr=2.2e-5, batch_size=512) if tuned == "full" else SUPERVISED
    published = printed("table 4", setting="4x3 views", k400=values)
    recipe = of_a_paper(ViFiCLIP(num_frames=16, tuned=tuned), train, published, TWELVE_VIEWS)
    return row(f"{variant}_k400", title, "Kinetics-400, fully supervised", recipe)


def _one_view(variant: str, name: str, setting: str, train: Train, published: tuple[Published, ...]) -> Maker:
    tuned, title = VARIANTS[variant]
    return row(f"{variant}_{name}", title, setting, of_a_paper(ViFiCLIP(num_frames=32, tuned=tuned), train, published))


def _zero_shot(variant: str, hmdb: float, ucf: float, k600: float, *release: float) -> Maker:
    published = printed("table 1", hmdb=(hmdb,), ucf=(ucf,), k600=(k600,)) + printed("release", k600=release)
    return _one_view(variant, "zero_shot", "Kinetics-400, for other classes", ZERO_SHOT, published)


def _few_shot(variant: str, hmdb: Values, ucf: Values, ssv2: Values) -> Maker:
    published = printed("table 3", SHOTS, hmdb=hmdb, ucf=ucf, ssv2=ssv2)
    return _one_view(variant, "few_shot", "few-shot", FEW_SHOT, published)


def _base_to_novel(variant: str, k400: Values, hmdb: Values, ucf: Values, ssv2: Values) -> Maker:
    published = printed("table 2", NOVEL, k400=k400, hmdb=hmdb, ucf=ucf, ssv2=ssv2)
    return _one_view(variant, "base_to_novel", "base to novel", BASE_TO_NOVEL, published)


def _prompts(name: str, setting: str, count: int, depth: int, train: Train, published: tuple[Published, ...]) -> Maker:
    method = ViFiCLIP(
        num_frames=32, tuned="prompts", vision_prompts=count, text_prompts=count, vision_depth=depth, text_depth=depth
    )
    recipe = of_a_paper(method, train, published)
    return row(name, "Prompts for ViFi-CLIP", setting, recipe, STAGE_TWO.format(name))


FEW = printed(
    "table 7", SHOTS, hmdb=(63.0, 65.1, 69.6, 72.0), ucf=(91.0, 93.7, 95.0, 96.4), ssv2=(6.7, 7.9, 10.2, 13.5)
)
NEW = printed("table 8", NOVEL, hmdb=(77.1, 54.9, 64.1), ucf=(95.9, 74.1, 83.6), ssv2=(15.8, 11.5, 13.3))
PUBLISHED = (
    _supervised("vificlip", 83.9, 96.3),
    _zero_shot("vificlip", 51.3, 76.8, 71.2),
    _few_shot("vificlip", (57.2, 62.7, 64.5, 66.8), (80.7, 85.1, 90.0, 92.7), (6.2, 7.4, 8.5, 12.4)),
    _base_to_novel("vificlip", (76.4, 61.1, 67.9), (73.8, 53.3, 61.9), (92.9, 67.7, 78.3), (16.2, 12.1, 13.9)),
    _prompts("vificlip_prompts_few_shot", "few-shot", 10, 12, replace(FEW_SHOT, lr=8e-3), FEW),
    _prompts("vificlip_prompts_base_to_novel", "base to novel", 16, 9, replace(BASE_TO_NOVEL, lr=4e-2), NEW),
    _supervised("image_ft", 82.8, 96.2),
    _zero_shot("image_ft", 49.0, 72.9, 62.4, 62.2),
    _few_shot("image_ft", (49.6, 54.9, 57.8, 62.0), (74.4, 79.1, 85.3, 90.5), (4.9, 6.0, 7.2, 10.4)),
    _base_to_novel("image_ft", (72.9, 58.0, 64.6), (62.6, 47.5, 54.0), (86.4, 65.3, 74.4), (9.2, 8.5, 8.8)),
    _supervised("text_ft", 73.1, 91.2),
    _zero_shot("text_ft", 48.5, 69.8, 68.5),
    _few_shot("text_ft", (54.5, 61.6, 63.1, 65.0), (80.1, 82.8, 85.8, 88.1), (6.2, 6.1, 6.3, 9.1)),
    _base_to_novel("text_ft", (73.4, 59.7, 65.8), (70.0, 51.2, 59.1), (90.9, 67.4, 77.4), (12.4, 9.5, 10.8)),
)
