"""What `--quick` runs on in the place of real videos and weights: moving textures, and a seeded CLIP of four blocks."""

from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import save_file

from stillmotion.backbones.clip import VisionTransformer
from stillmotion.backbones.config import CLIPConfig, VisionConfig

CONFIG = CLIPConfig(
    embed_dim=32,
    vision=VisionConfig(image_size=(32, 32), patch_size=8, width=64, layers=4, heads=1, mlp_width=64),
    text=None,
)


def write_clip(
    path: Path, frames: int, size: tuple[int, int] = (64, 48), codec: str = "libx264", seed: int = 0
) -> None:
    """A texture that moves, (width, height) pixels at 25 frames per second."""
    width, height = size
    coarse = np.random.RandomState(seed).randint(0, 255, (height // 4, width // 4, 3), np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)  # twice the size of a frame
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            image = np.ascontiguousarray(np.roll(texture, (3 * i, 5 * i), (0, 1))[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_tower(path: Path) -> Path:
    """The image tower of `CONFIG`, for `--backbone`."""
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = VisionTransformer(CONFIG).state_dict()
    save_file({f"visual.{name}": tensor.contiguous() for name, tensor in state.items()}, path)
    return path
