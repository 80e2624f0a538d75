"""Recipes of ViFi-CLIP, of CLIP image-FT and text-FT, and of the prompts that are learned on top (*bridge and prompt*).

    stillmotion train vificlip_k400 --data k400          train and val lists inside
    stillmotion train vificlip_few_shot --data hmdb_train_2_shot.txt --val hmdb_val.txt --labels hmdb_labels.csv

Fully supervised: 16 frames, 4x3 views; the release's four temporal views are random draws, ours are fixed and evenly
spread. All others: 32 frames, one view. Few-shot training takes K clips of each class; base-to-novel training 16 of
each of the more frequent half of the classes (base), and the other half (novel) is new to the model. HM is their
harmonic mean. The release mirrors clips of Something-Something v2 too, where left and right matter.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Run
from stillmotion.recipes.settings import (
    BASE_TO_NOVEL,
    FEW_SHOT,
    SUPERVISED,
    TWELVE_VIEWS,
    ZERO_SHOT,
    own_clips,
    published,
)

Tuned = Literal["full", "image", "text"]


def vificlip(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP for your own clips: fine-tunes all of CLIP, so it wants a GPU and weights with a text tower.

    stillmotion train vificlip --data my_videos --clip ViT-B-16:openai

    The paper's few-shot setting (32 frames, lr 2e-6, 50 epochs, batch 64) with 8 frames and no mixing.
    """
    return own_clips(ViFiCLIP(num_frames=8), data)


def _supervised(data: Path, tuned: Tuned) -> Run[ViFiCLIP]:
    train = replace(SUPERVISED, lr=2.2e-5, batch_size=512) if tuned == "full" else SUPERVISED
    return published(ViFiCLIP(num_frames=16, tuned=tuned), data, train, TWELVE_VIEWS)


def _zero_shot(data: Path, tuned: Tuned) -> Run[ViFiCLIP]:
    return published(ViFiCLIP(num_frames=32, tuned=tuned), data, ZERO_SHOT)


def _few_shot(data: Path, tuned: Tuned) -> Run[ViFiCLIP]:
    return published(ViFiCLIP(num_frames=32, tuned=tuned), data, FEW_SHOT)


def _base_to_novel(data: Path, tuned: Tuned) -> Run[ViFiCLIP]:
    return published(ViFiCLIP(num_frames=32, tuned=tuned), data, BASE_TO_NOVEL)


def _prompts(count: int, depth: int) -> ViFiCLIP:
    return ViFiCLIP(
        num_frames=32,
        tuned="prompts",
        vision_prompts=count,
        text_prompts=count,
        vision_depth=depth,
        text_depth=depth,
    )


def vificlip_k400(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16, 16 frames, Kinetics-400, fully supervised. Paper 83.9 top-1, 96.3 top-5 (4x3 views, table 4)."""
    return _supervised(data, "full")


def image_ft_k400(data: Path) -> Run[ViFiCLIP]:
    """CLIP image-FT B/16, 16 frames, Kinetics-400, fully supervised. Paper 82.8 top-1, 96.2 top-5 (table 4)."""
    return _supervised(data, "image")


def text_ft_k400(data: Path) -> Run[ViFiCLIP]:
    """CLIP text-FT B/16, 16 frames, Kinetics-400, fully supervised. Paper 73.1 top-1, 91.2 top-5 (table 4)."""
    return _supervised(data, "text")


def vificlip_zero_shot(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16, Kinetics-400, to be used on other classes. Paper UCF 76.8, HMDB 51.3, K600 71.2 (table 1).

    The first stage of the recipes `vificlip_prompts_...`.
    """
    return _zero_shot(data, "full")


def image_ft_zero_shot(data: Path) -> Run[ViFiCLIP]:
    """CLIP image-FT B/16, Kinetics-400, for other classes. Paper UCF 72.9, HMDB 49.0, K600 62.4 (table 1).

    The release's page has 62.2 for K600.
    """
    return _zero_shot(data, "image")


def text_ft_zero_shot(data: Path) -> Run[ViFiCLIP]:
    """CLIP text-FT B/16, Kinetics-400, for other classes. Paper UCF 69.8, HMDB 48.5, K600 68.5 (table 1)."""
    return _zero_shot(data, "text")


def vificlip_few_shot(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16, few-shot. Paper HMDB 57.2 to 66.8, UCF 80.7 to 92.7, SSv2 6.2 to 12.4 (2 to 16 shots, table 3).

    K = 2, 4, 8, 16: HMDB-51 57.2, 62.7, 64.5, 66.8; UCF-101 80.7, 85.1, 90.0, 92.7; SSv2 6.2, 7.4, 8.5, 12.4.
    """
    return _few_shot(data, "full")


def image_ft_few_shot(data: Path) -> Run[ViFiCLIP]:
    """CLIP image-FT B/16, few-shot. Paper HMDB 49.6 to 62.0, UCF 74.4 to 90.5, SSv2 4.9 to 10.4 (table 3).

    K = 2, 4, 8, 16: HMDB-51 49.6, 54.9, 57.8, 62.0; UCF-101 74.4, 79.1, 85.3, 90.5; SSv2 4.9, 6.0, 7.2, 10.4.
    """
    return _few_shot(data, "image")


def text_ft_few_shot(data: Path) -> Run[ViFiCLIP]:
    """CLIP text-FT B/16, few-shot. Paper HMDB 54.5 to 65.0, UCF 80.1 to 88.1, SSv2 6.2 to 9.1 (table 3).

    K = 2, 4, 8, 16: HMDB-51 54.5, 61.6, 63.1, 65.0; UCF-101 80.1, 82.8, 85.8, 88.1; SSv2 6.2, 6.1, 6.3, 9.1.
    """
    return _few_shot(data, "text")


def vificlip_base_to_novel(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16, base to novel. Paper HM K400 67.9, HMDB 61.9, UCF 78.3, SSv2 13.9 (table 2).

    Base, novel: Kinetics-400 76.4, 61.1; HMDB-51 73.8, 53.3; UCF-101 92.9, 67.7; SSv2 16.2, 12.1.
    """
    return _base_to_novel(data, "full")


def image_ft_base_to_novel(data: Path) -> Run[ViFiCLIP]:
    """CLIP image-FT B/16, base to novel. Paper HM K400 64.6, HMDB 54.0, UCF 74.4, SSv2 8.8 (table 2).

    Base, novel: Kinetics-400 72.9, 58.0; HMDB-51 62.6, 47.5; UCF-101 86.4, 65.3; SSv2 9.2, 8.5.
    """
    return _base_to_novel(data, "image")


def text_ft_base_to_novel(data: Path) -> Run[ViFiCLIP]:
    """CLIP text-FT B/16, base to novel. Paper HM K400 65.8, HMDB 59.1, UCF 77.4, SSv2 10.8 (table 2).

    Base, novel: Kinetics-400 73.4, 59.7; HMDB-51 70.0, 51.2; UCF-101 90.9, 67.4; SSv2 12.4, 9.5.
    """
    return _base_to_novel(data, "text")


def vificlip_prompts_few_shot(data: Path) -> Run[ViFiCLIP]:
    """Prompts for ViFi-CLIP, few-shot. Paper HMDB 63.0 to 72.0, UCF 91.0 to 96.4, SSv2 6.7 to 13.5 (table 7).

    stillmotion train vificlip_prompts_few_shot --data ucf.txt --start-from STAGE1/model.safetensors

    The second stage of *bridge and prompt*: STAGE1 is the run of `vificlip_zero_shot`, whose model is frozen here.
    K = 2, 4, 8, 16: HMDB-51 63.0, 65.1, 69.6, 72.0; UCF-101 91.0, 93.7, 95.0, 96.4; SSv2 6.7, 7.9, 10.2, 13.5.
    """
    return published(_prompts(10, depth=12), data, replace(FEW_SHOT, lr=8e-3))


def vificlip_prompts_base_to_novel(data: Path) -> Run[ViFiCLIP]:
    """Prompts for ViFi-CLIP, base to novel. Paper HM HMDB 64.1, UCF 83.6, SSv2 13.3 (table 8).

    stillmotion train vificlip_prompts_base_to_novel --data ucf.txt --start-from STAGE1/model.safetensors

    The second stage of *bridge and prompt*: STAGE1 is the run of `vificlip_zero_shot`, whose model is frozen here.
    Base, novel: HMDB-51 77.1, 54.9; UCF-101 95.9, 74.1; SSv2 15.8, 11.5.
    """
    return published(_prompts(16, depth=9), data, replace(BASE_TO_NOVEL, lr=4e-2))
