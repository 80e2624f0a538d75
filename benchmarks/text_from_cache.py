"""Steps per second of a text tower that trains from cached frame embeddings, and from videos.

    python benchmarks/text_from_cache.py --data my_videos --backbone ViT-B-16:openai
    python benchmarks/text_from_cache.py --quick

Both train `vificlip --tuned text` in this process, in turns; medians over epochs behind the first, reading included.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file
from sections import machine, markdown
from tiny import CONFIG, write_clip, write_tower

from stillmotion.backbones.clip import TextTransformer
from stillmotion.backbones.config import TextConfig
from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.methods import ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train


@dataclass(frozen=True)
class Options:
    """What is trained."""

    data: Path = Path("weizmann")
    """Labeled videos."""
    backbone: str = "ViT-B-16:openai"
    """A CLIP with a text tower."""
    epochs: int = 4
    """Of every run."""
    repeats: int = 3
    """Runs of each kind."""
    quick: bool = False
    """Once, on generated clips with a tiny CLIP; the table is only printed."""


def steps_per_second(recipe: Recipe[ViFiCLIP], data: Path, place: Place) -> float:
    """Of the epochs behind the first: the median time between the ends of two steps."""
    ends: list[float] = []
    fit(
        recipe,
        Data(data=data),
        place,
        callback=lambda line: ends.append(time.perf_counter()) if "loss" in line else None,
    )
    per_epoch = len(ends) // recipe.train.epochs
    epochs = [ends[i + per_epoch] - ends[i] for i in range(per_epoch - 1, len(ends) - per_epoch, per_epoch)]
    return per_epoch / statistics.median(epochs)


def tiny(folder: Path) -> str:
    """A seeded CLIP of both towers."""
    torch.manual_seed(0)
    words = TextTransformer(replace(CONFIG, text=TextConfig(width=64, layers=2, heads=1, mlp_width=64))).state_dict()
    state = load_file(write_tower(folder / "tower.safetensors")) | dict(words) | {"logit_scale": torch.tensor(2.0)}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "clip.safetensors")
    return str(folder / "clip.safetensors")


def main(options: Options) -> None:
    """Time and print."""
    with tempfile.TemporaryDirectory() as name:
        place, data, backbone = Path(name), options.data, options.backbone
        if options.quick:
            data, backbone = place / "videos", tiny(place)
            for label, i in ((label, i) for label in "ab" for i in range(4)):
                write_clip(data / label / f"{i}.mp4", 12, seed=i + 10 * (label == "b"))
        epochs, repeats = (2, 1) if options.quick else (options.epochs, options.repeats)
        train = Train(lr=1e-6, epochs=epochs, batch_size=4, eval_every=0)
        recipe = Recipe(method=ViFiCLIP(num_frames=8, tuned="text"), train=train, backbone=backbone)
        kinds = {"the cache": recipe, "videos": replace(recipe, flip=0.5)}
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for i in range(repeats):
            for kind, one in kinds.items():
                out = Place(out=place / f"{kind}{i}", cache=place / "cache")
                found[kind].append(steps_per_second(one, data, out))
    rows = [(kind, f"{statistics.median(rates):.2f}") for kind, rates in found.items()]
    print(markdown(("trains from", "steps per second"), rows))
    print(machine())


if __name__ == "__main__":
    main(tyro.cli(Options))
