"""Frames to what a model reads: resize, crop, normalize; and the random augmentations of training.

Everything takes (T, 3, H, W) uint8 frames of one video and draws once, so that all frames are treated alike.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tvf

from stillmotion.data.sampling import crop_offsets
from stillmotion.data.seeds import drawn_from
from stillmotion.errors import StillmotionError

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

BILINEAR = InterpolationMode.BILINEAR
CROP_ROOM, SCALES = 256 / 224, (1, 0.875, 0.75, 0.66)
# Quarters of the room below and to the right: corners, middle; middles of the sides; middles of the quarters.
PLACES = (
    (0, 0), (0, 4), (4, 0), (4, 4), (2, 2),
    (2, 0), (2, 4), (0, 2), (4, 2),
    (1, 1), (1, 3), (3, 1), (3, 3),
)  # fmt: skip

Augmentation = Literal["none", "crop", "vificlip", "evl", "actionclip"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Size and pixel statistics that a model was trained with; stored with its weights.

    `size` is (height, width) in pixels; mean and std are of RGB values in [0, 1]. With `bgr` the model reads blue
    first, with mean and std as they are: A5's release took CLIP's RGB statistics to the BGR frames it trained on.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    bgr: bool = False
    antialias: bool = True
    short_side: int | None = None
    """Pixels that the short side is scaled to before a single crop is taken from the middle; None: the crop's own."""

    def __call__(self, frames: Tensor, crops: Literal[1, 3] = 1) -> Tensor:
        """(T, 3, H, W) uint8 frames to (crops, T, 3, height, width) normalized float32: the middle, or three crops."""
        return self.crop(self.scale(frames, crops), crops)

    def scale(self, frames: Tensor, crops: Literal[1, 3] = 1) -> Tensor:
        """(T, 3, H, W) uint8 frames to the (T, 3, H', W') that the crops are taken from, each frame by itself."""
        return self.resize(frames, self.short_side if crops == 1 else None)

    def crop(self, frames: Tensor, crops: Literal[1, 3] = 1) -> Tensor:
        """(T, 3, H', W') scaled frames to (crops, T, 3, height, width) normalized float32."""
        offsets = crop_offsets((frames.shape[-2], frames.shape[-1]), self.size, crops)
        h, w = self.size
        return torch.stack([self.normalize(frames[..., y : y + h, x : x + w]) for y, x in offsets])

    def resize(self, frames: Tensor, short_side: int | None = None) -> Tensor:
        """Scale frames to the smallest size that covers `size`, or until the crop's short side would be `short_side`.

        Frames that lie channels-last in memory, as `Video.frames` returns them, take torchvision's uint8 kernels:
        2 to 3 times faster than channels-first, and 6 times faster than float.
        """
        (H, W), (h, w) = frames.shape[-2:], self.size
        room = 1.0 if short_side is None else max(1.0, short_side / min(h, w))
        if h * W >= w * H:  # whole numbers: a float's rounding would cost a pixel now and then
            size = [round(h * room), max(w, W * round(h * room) // H)]
        else:
            size = [max(h, H * round(w * room) // W), round(w * room)]
        return tvf.resize(frames, size, interpolation=InterpolationMode(self.interpolation), antialias=self.antialias)

    def normalize(self, frames: Tensor) -> Tensor:
        """uint8 RGB in [0, 255] to float32 with the model's order of channels, mean and std."""
        frames = frames.flip(-3) if self.bgr else frames
        mean, std = (frames.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        return ((frames.float() / 255 - mean) / std).contiguous()


class Augment:
    """Random views of a clip for training; then the model's own normalization.

    Args:
        policy: `none` is the test view. `crop` is a random resized crop of at least half the area. `vificlip` is its
            (and X-CLIP's) multi-scale crop, flip, color jitter and grayscale. `actionclip` is its RandAugment and then
            the same with more places to crop. `evl` is its RandAugment and random resized crop. RandAugment has
            torchvision's op set.
        flip: probability of a mirror image. Wrong wherever left and right matter.

    The releases of ViFi-CLIP, X-CLIP and ActionCLIP draw the color jitter anew for every frame, and ActionCLIP
    RandAugment too; here it is one draw a clip.
    """

    def __init__(self, policy: Augmentation, preprocess: Preprocess, flip: float = 0.0):
        self.policy, self.preprocess = policy, preprocess
        size, mode = list(preprocess.size), InterpolationMode(preprocess.interpolation)
        steps: list[Any] = []
        if policy == "crop":
            steps += [v2.RandomResizedCrop(size, scale=(0.5, 1.0), interpolation=mode)]
        elif policy in ("vificlip", "actionclip"):
            if policy == "actionclip":
                steps += [v2.RandAugment(2, magnitude=9, interpolation=BILINEAR, fill=128)]
            steps += [MultiScaleCrop(preprocess.size, places=13 if policy == "actionclip" else 5)]
            jitter = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
            steps += [v2.RandomApply([jitter], p=0.8), v2.RandomGrayscale(p=0.2)]
        elif policy == "evl":
            steps += [v2.RandAugment(4, magnitude=7, num_magnitude_bins=11, interpolation=BILINEAR, fill=128)]
            steps += [v2.RandomResizedCrop(size, scale=(0.08, 1.0), interpolation=BILINEAR)]
        elif policy != "none":
            raise StillmotionError(
                f"augmentation {policy!r} is unknown; choose none, crop, vificlip, evl or actionclip"
            )
        if flip:
            steps.append(v2.RandomHorizontalFlip(flip))
        self._steps = v2.Compose(steps) if steps else None

    def __call__(self, frames: Tensor, seed: int) -> Tensor:
        """(T, 3, H, W) uint8 frames to one (T, 3, height, width) normalized view; equal seeds give equal views."""
        if self._steps is None:
            return self.preprocess(frames)[0]
        with drawn_from(seed):
            if self.policy == "none":
                return self._steps(self.preprocess(frames)[0]).contiguous()
            return self.preprocess.normalize(self._steps(frames))


class MultiScaleCrop(torch.nn.Module):
    """TSN's crop, which torchvision lacks: one of four sizes a side and of 5 or 13 places, resized to `size`.

    Sides are scales of the short side, drawn for height and width with neighboring scales at most; a side within 3
    pixels of the output side snaps to it (X-CLIP and ViFi-CLIP, short side 256 for an output of 224 first). Five places
    are the corners and the middle; thirteen add the middles of the sides and of the quarters (ActionCLIP).
    """

    def __init__(self, size: tuple[int, int], places: Literal[5, 13] = 5):
        super().__init__()
        self.size, self.places = size, PLACES[:places]

    def forward(self, frames: Tensor) -> Tensor:
        """Crop (..., H, W) frames at random."""
        frames = tvf.resize(frames, [int(CROP_ROOM * max(self.size))], interpolation=BILINEAR, antialias=True)
        H, W = frames.shape[-2:]
        sides = [int(min(H, W) * scale) for scale in SCALES]
        heights, widths = ([out if abs(s - out) < 3 else s for s in sides] for out in self.size)
        pairs = [(h, w) for i, h in enumerate(heights) for j, w in enumerate(widths) if abs(i - j) <= 1]
        h, w = pairs[_draw(len(pairs))]
        down, right = self.places[_draw(len(self.places))]
        y, x = (H - h) * down // 4, (W - w) * right // 4
        crop = frames[..., y : y + h, x : x + w]
        return tvf.resize(crop, list(self.size), interpolation=BILINEAR, antialias=True)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()).item())
