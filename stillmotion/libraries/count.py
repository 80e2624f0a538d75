"""Parameters and multiply-accumulates of other libraries' video models: their own modules, without weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.errors import StillmotionError, WeightsError, missing
from stillmotion.libraries.models import ForeignVideo, TorchvisionVideo, TransformersVideo
from stillmotion.libraries.read import published_clip


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

    Raises:
        StillmotionError: no such model, or a folder without a configuration of one.
    """
    library, _, rest = name.partition(":")
    model, num_frames, size = _torchvision(rest) if library == "torchvision" else _transformers(rest)
    model = model.eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.classify(torch.empty(1, num_frames, 3, *size, device="meta"))
    parameters = sum(p.numel() for p in model.parameters())
    return ForeignCounts(parameters, counter.get_total_flops() // 2, num_frames, size)


def _torchvision(rest: str) -> tuple[ForeignVideo, int, tuple[int, int]]:
    architecture = rest.partition(":")[0]
    num_frames, _ = published_clip(architecture)
    height, width = torchvision.models.get_model_weights(architecture)["DEFAULT"].transforms().crop_size
    with torch.device("meta"):
        return TorchvisionVideo(torchvision.models.get_model(architecture, weights=None)), num_frames, (height, width)


def _transformers(rest: str) -> tuple[ForeignVideo, int, tuple[int, int]]:
    try:
        from transformers import AutoConfig, AutoModelForVideoClassification
    except ImportError as error:
        raise missing("transformers", f"transformers:{rest}", WeightsError) from error
    folder = Path(rest).expanduser()
    if not (folder / "config.json").is_file():
        raise WeightsError(f"there is no {folder / 'config.json'}; pass a local folder of a video classification model")
    try:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForVideoClassification.from_config(config)
    except Exception as error:  # transformers' own types, which differ between versions
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder} is not a video classification model that transformers knows ({reason})"
        ) from error
    num_frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    side = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
    if not num_frames or not side:
        raise StillmotionError(
            f"{folder / 'config.json'} does not say its frames and image size; they are needed to count"
        )
    height, width = (side, side) if isinstance(side, int) else side
    return TransformersVideo(model), num_frames, (height, width)
