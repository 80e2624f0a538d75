"""ViFi-CLIP's recipes, and CLIP image-FT and text-FT by `--tuned image` and `--tuned text`."""

from dataclasses import replace
from pathlib import Path

from stillmotion.data.sampling import Sampling
from stillmotion.data.source import Data
from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Run
from stillmotion.train.config import Train


def vificlip(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP for your own clips: fine-tunes all of CLIP, so it wants a GPU and weights with a text tower.

    stillmotion train vificlip --data my_videos --clip ViT-B-16:openai

    The paper's few-shot setting (32 frames, lr 2e-6, 50 epochs, batch 64) with 8 frames and no mixing.
    """
    return Run(
        method=ViFiCLIP(num_frames=8),
        data=Data(data=data),
        train=Train(
            lr=2e-6,
            weight_decay=0.001,
            betas=(0.9, 0.98),
            batch_size=64,
            micro_batch=4,
            epochs=50,
            warmup=5,
            schedule="overlaid_cosine",
            label_smoothing=0.1,
        ),
        clip="ViT-B-16:openai",
        augment="crop",
    )


def vificlip_k400(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16, 16 frames, Kinetics-400, fully supervised. Paper 83.9 top-1 (4x3 views, table 4).

    stillmotion train vificlip_k400 --data k400 (with train and val lists inside)

    The release's four temporal views are random draws; ours are fixed and evenly spread.
    """
    return Run(
        method=ViFiCLIP(num_frames=16),
        data=Data(data=data),
        train=Train(
            lr=2.2e-5,
            weight_decay=0.001,
            betas=(0.9, 0.98),
            batch_size=512,
            micro_batch=4,
            epochs=30,
            warmup=5,
            schedule="overlaid_cosine",
            label_smoothing=0.1,
            mix=True,
            precision="fp16",
        ),
        sampling=Sampling(views=4, crops=3),
        clip="ViT-B-16:openai",
        statistics="imagenet",
        augment="vificlip",
        flip=0.5,
    )


def vificlip_zero_shot(data: Path) -> Run[ViFiCLIP]:
    """ViFi-CLIP B/16 trained on Kinetics-400 to be used on other classes. Paper UCF-101 76.8, HMDB-51 51.3 (table 1).

    stillmotion train vificlip_zero_shot --data k400 (with train and val lists inside)
    """
    run = vificlip_k400(data)
    return replace(
        run,
        method=ViFiCLIP(num_frames=32),
        train=replace(run.train, lr=8e-6, batch_size=256, epochs=10),
        sampling=Sampling(),
    )
