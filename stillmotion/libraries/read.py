"""Video models of transformers and torchvision, read with their own preprocessing and class names."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor
from torchvision.transforms import functional as tv1
from torchvision.transforms.v2 import functional as tvf

from stillmotion.backbones.weights import compare
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError, did_you_mean, missing
from stillmotion.libraries.models import ForeignVideo, TorchvisionVideo, TransformersVideo
from stillmotion.progress import say
from stillmotion.weights.hub import snapshot, torchvision_file
from stillmotion.weights.readers import read_state

CLIPS = {"swin3d": (32, 2), "mvit": (16, 4), "s3d": (128, 2), "r3d": (16, 2), "mc3": (16, 2), "r2plus1d": (16, 2)}
"""Frames of a clip and the stride between them in videos of 30 frames a second, by the name's beginning: the clip_len
and frame_rate with which torchvision evaluated its weights."""

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
EQUAL = 0.1
"""Part of one of 255 levels by which normalized pixels may differ and count as equal: float rounding."""


@dataclass(frozen=True, kw_only=True)
class ForeignPreprocess(Preprocess):
    """Another library's pixels: frames are scaled to a size of their own before the crop.

    `resize_to` is (short side,) or (height, width) in pixels.
    """

    resize_to: tuple[int, ...] = (256,)
    library: Literal["transformers", "torchvision"] = "transformers"

    def crop(self, frames: Tensor, crops: Literal[1, 3] = 1) -> Tensor:
        """(T, 3, H', W') scaled frames to (crops, T, 3, height, width) normalized float32."""
        h, w = self.size
        room = (frames.shape[-2] - h, frames.shape[-1] - w)
        # The middle of an odd room: torchvision rounds half to even, transformers down.
        middle = tuple(round(r / 2) if self.library == "torchvision" else r // 2 for r in room)
        places = [middle] if crops == 1 else [(0, 0), middle, room]
        return torch.stack([self.normalize(frames[..., y : y + h, x : x + w]) for y, x in places])

    def resize(self, frames: Tensor, short_side: int | None = None) -> Tensor:
        """Scale frames as the library does, to a size of its own."""
        mode = tv1.InterpolationMode(self.interpolation)
        if self.library == "torchvision":
            # Its presets do not antialias, and round as its first transforms did, which the second do not.
            return tv1.resize(frames, list(self.resize_to), mode, antialias=False)
        return tvf.resize(frames, list(self.resize_to), interpolation=mode, antialias=True)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A model of another library, read: the module and how it wants its videos."""

    model: ForeignVideo
    preprocess: ForeignPreprocess
    num_frames: int
    sampling: Sampling
    classes: tuple[str, ...]
    """Names in the order of the logits; empty where the model does not say."""
    count: int
    """Logits."""


def read_torchvision(rest: str) -> Foreign:
    """Read `MODEL`, `MODEL:WEIGHTS` or `MODEL:FILE`.

    Raises `WeightsError`: no such model or weights, or tensors that do not fit.
    """
    architecture, _, source = rest.partition(":")
    clip = published_clip(architecture)
    known = torchvision.models.get_model_weights(architecture).__members__
    entry = known[source if source in known else "DEFAULT"]
    path = torchvision_file(entry.url) if source in ("", *known) else Path(source).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"{source!r} is neither a file nor weights of {architecture}{did_you_mean(source, [*known])}"
        )
    state = read_state(path)
    with torch.device("meta"):
        model = torchvision.models.get_model(architecture, weights=None)
        bias = list(model.state_dict())[-1]  # of the last layer: one number for each class
        count = len(state[bias]) if bias in state and state[bias].ndim else len(entry.meta["categories"])
        model = torchvision.models.get_model(architecture, weights=None, num_classes=count)
    compare(model.state_dict(), state, str(path))
    model = torchvision.models.get_model(architecture, weights=None, num_classes=count)
    model.load_state_dict(state)
    transforms, categories = entry.transforms(), tuple(entry.meta["categories"])
    return Foreign(
        model=TorchvisionVideo(model),
        preprocess=ForeignPreprocess(
            size=tuple(transforms.crop_size),
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation=transforms.interpolation.value,
            resize_to=tuple(transforms.resize_size),
            library="torchvision",
        ),
        num_frames=clip[0],
        sampling=Sampling(scheme="dense", stride=clip[1]),
        classes=categories if count == len(categories) else (),
        count=count,
    )


def published_clip(architecture: str) -> tuple[int, int]:
    """Frames and stride with which torchvision evaluated a video model.

    Raises `WeightsError`: torchvision has no such model.
    """
    known = torchvision.models.list_models(module=torchvision.models.video)
    clip = next((clip for start, clip in CLIPS.items() if architecture.startswith(start)), None)
    if architecture not in known or clip is None:
        raise WeightsError(f"torchvision has no video model {architecture!r}{did_you_mean(architecture, known)}")
    return clip


def read_transformers(rest: str) -> Foreign:
    """Read a folder that `save_pretrained` wrote, or a hub repository.

    Raises `WeightsError`: transformers is missing, or this is no video classification model with all its tensors.
    """
    library, folder = transformers_for(rest), Path(rest).expanduser()
    folder = folder if folder.is_dir() else snapshot(rest)
    files = "; pass a folder with config.json, weights, and preprocessor_config.json or video_preprocessor_config.json"
    with told(folder, files):
        model, loaded = library.AutoModelForVideoClassification.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **SAFE
        )
        processor = library.AutoVideoProcessor.from_pretrained(folder, **SAFE)
    # transformers fills in random numbers where the file has none, which would be scored like any others.
    if lacking := sorted(loaded["missing_keys"]) + sorted(str(k) for k in loaded["mismatched_keys"]):
        raise WeightsError(
            f"{folder} lacks {len(lacking)} tensors of a video classification model, {lacking[0]} for one; pass one "
            "that was fine-tuned on classes"
        )
    if extra := sorted(loaded["unexpected_keys"]):
        say(f"{folder}: {len(extra)} tensors are not used by the model, {extra[0]} for one")
    config, pixels = model.config, _pixels(processor, folder)
    num_frames = frames_of(config)
    side = getattr(config, "image_size", None) or pixels.size[0]
    if not num_frames or side not in (pixels.size[0], list(pixels.size)):
        raise WeightsError(
            f"{folder}: the processor makes {pixels.size[0]} x {pixels.size[1]} pixels, config.json says {side} and "
            f"{num_frames} frames; mend the folder's files so that they agree"
        )
    labels = tuple(str(config.id2label.get(i, "")) for i in range(config.num_labels))
    named = not all(re.fullmatch(r"LABEL_\d+|", label) for label in labels)
    return Foreign(
        model=TransformersVideo(model),
        preprocess=pixels,
        num_frames=num_frames,
        sampling=Sampling(),
        classes=labels if named else (),
        count=config.num_labels,
    )


def _pixels(processor: Any, folder: Path) -> ForeignPreprocess:
    """Preprocessing equal to a processor's, whose arithmetic is measured rather than believed.

    ViViT's shifts pixels before it normalizes them, and others have settings of their own: black and white frames give
    the output's size, mean and standard deviation, and a textured one shows whether anything else is done.
    """

    def run(frames: Tensor) -> Tensor:
        output: Tensor = processor(videos=[frames], return_tensors="pt")[processor.model_input_names[0]][0]
        return output

    unfit = WeightsError(
        f"the processor of {folder} does more to frames than scaling, a middle crop and a normalization; evaluate it "
        "with transformers, and ensemble its predictions"
    )
    filters: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
    size, resample = processor.size, filters.get(processor.resample)
    resize_to = (size.shortest_edge,) if size.shortest_edge else (size.height, size.width)
    if resample is None or None in resize_to or not processor.do_resize:
        raise unfit
    try:
        black, white = (run(torch.full((2, 3, 96, 128), v, dtype=torch.uint8)) for v in (0, 255))
    except (ValueError, RuntimeError, TypeError) as error:
        raise unfit from error
    low, high = (frames[0, :, frames.shape[-2] // 2, frames.shape[-1] // 2].double() for frames in (black, white))
    std = 1 / (high - low)
    ours = ForeignPreprocess(
        size=(black.shape[-2], black.shape[-1]),
        mean=tuple((-low * std).tolist()),
        std=tuple(std.tolist()),
        interpolation=resample,
        resize_to=resize_to,
    )
    # Wider than high and higher than wide, with odd sides.
    for H, W in ((123, 167), (171, 125)):
        ramp = torch.linspace(0, 255, H)[:, None] * torch.linspace(0.2, 1, W) + torch.tensor([0, 9, 25])[:, None, None]
        frames = ramp.clamp(0, 255).to(torch.uint8).expand(2, 3, H, W)
        theirs, mine = run(frames), ours(frames)[0]
        # Not `>`: statistics that cannot be measured are NaN, which is greater than nothing.
        if theirs.shape != mine.shape or not float((theirs - mine).abs().max()) <= EQUAL / 255 / float(std.min()):
            raise unfit
    return ours


def transformers_for(rest: str) -> Any:
    """Import transformers, or raise the `WeightsError` that says how to install it."""
    try:
        import transformers
    except ImportError as error:
        raise missing("transformers", f"transformers:{rest}", WeightsError) from error
    return transformers


def frames_of(config: Any) -> int | None:
    """Frames of a view by a configuration of transformers; None: it does not say."""
    return getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)


@contextmanager
def told(folder: Path, hint: str = "") -> Iterator[None]:
    """Keep transformers' bars and reports from the screen, and say what it raises in one line, a `WeightsError`."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # safetensors' and the hub's own types, which differ between versions
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder} is not a video classification model that transformers reads ({reason}){hint}"
        ) from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
