"""Parameters and multiply-accumulates of other libraries' video models: their own modules, without weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.libraries.models import ForeignVideo, TorchvisionVideo, TransformersVideo
from stillmotion.libraries.read import SAFE, frames_of, published_clip, told, transformers_for


@dataclass(frozen=True)
class ForeignCounts:
    """What one view of one video costs.

    `macs` are multiply-accumulates of matrix products and convolutions, half of the counter's FLOPs.
    """

    parameters: int
    macs: int
    num_frames: int
    image_size: tuple[int, int]


def count_foreign(name: str) -> ForeignCounts:
    """Count `torchvision:MODEL` or `transformers:FOLDER` at the size and frames it is published with.

    Raises `StillmotionError`: no such model, or a folder without a configuration of one.
    """
    library, _, rest = name.partition(":")
    with torch.device("meta"):
        model, num_frames, size = _torchvision(rest) if library == "torchvision" else _transformers(rest)
        video = torch.empty(1, num_frames, 3, *size)
    model = model.eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.classify(video)
    parameters = sum(p.numel() for p in model.parameters())
    return ForeignCounts(parameters, counter.get_total_flops() // 2, num_frames, size)


def _torchvision(rest: str) -> tuple[ForeignVideo, int, tuple[int, int]]:
    architecture = rest.partition(":")[0]
    num_frames, _ = published_clip(architecture)
    height, width = torchvision.models.get_model_weights(architecture)["DEFAULT"].transforms().crop_size
    return TorchvisionVideo(torchvision.models.get_model(architecture, weights=None)), num_frames, (height, width)


def _transformers(rest: str) -> tuple[ForeignVideo, int, tuple[int, int]]:
    library, folder = transformers_for(rest), Path(rest).expanduser()
    file = folder / "config.json"
    if not file.is_file():
        raise WeightsError(f"there is no {file}; pass a local folder of a video classification model")
    with told(folder):
        config = library.AutoConfig.from_pretrained(folder, **SAFE)
        model = library.AutoModelForVideoClassification.from_config(config)
    num_frames, side = frames_of(config), getattr(config, "image_size", None) or getattr(config, "crop_size", None)
    if not num_frames or not side:
        raise StillmotionError(f"{file} does not say its frames and image size; they are needed to count")
    height, width = (side, side) if isinstance(side, int) else side
    return TransformersVideo(model), num_frames, (height, width)
