"""Decoded frames as they are kept: upright, of one bounded size, and made small before there are many of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.data.packets import MAX_PIXELS
from stillmotion.errors import VideoError

MAX_ASPECT = 20
TOGETHER = 2

Change = Callable[[Tensor], Tensor]
"""From (n, 3, H, W) uint8 frames to (n, ...) of what is kept of them, each frame alike and by itself."""


class Kept:
    """The wanted frames of one pass over a file: as they are, or changed as soon as `TOGETHER` of them are there.

    Args:
        name: of the video, for messages.
        change: makes frames small. They come in pairs, one twice if it has no other, because a sum over one frame alone
            is cut up among threads and rounds otherwise than over several; only a video's single frame comes alone.
    """

    def __init__(self, name: object, change: Change | None):
        self.name, self.change = name, change
        self.sizes: dict[int, tuple[int, ...]] = {}
        self._full: dict[int, NDArray[np.uint8]] = {}
        self._changed: dict[int, Tensor] = {}

    def add(self, index: int, frame: Any) -> None:
        """Keep a decoded frame. Raises `VideoError`: it is larger than the header said, and too large."""
        check_size(self.name, frame.width, frame.height)
        self.put(index, np.rot90(frame.to_ndarray(format="rgb24"), k=-clockwise(frame) // 90))

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        """Keep an upright (H, W, 3) frame."""
        self.sizes[index] = image.shape
        if self.change and any(other.shape != image.shape for other in self._full.values()):
            self._flush(TOGETHER)
        self._full[index] = image
        if self.change and len(self._full) == TOGETHER:
            self._flush(1)

    def take(self, decoded: Sequence[Any], pending: set[int], numbers: Mapping[int, int]) -> None:
        """Keep those of some decoded frames whose times are pending, which they then are no more."""
        for frame in decoded:
            if frame.pts in pending:
                pending.discard(frame.pts)
                self.add(numbers[frame.pts], frame)

    def of(self, indices: Sequence[int]) -> Tensor:
        """The frames with these indices, all of which were found. Raises `VideoError`: they are not of one size."""
        if len({self.sizes[i] for i in indices}) > 1:
            raise VideoError(f"{self.name}: the frame size changes within the video; re-encode it at one size")
        if self.change is None:
            return _stack([self._full[i] for i in indices])
        if self._full:
            self._flush(min(TOGETHER, len(indices)))
        return torch.stack([self._changed[i] for i in indices])

    def _flush(self, repeats: int) -> None:
        assert self.change is not None
        self._changed |= zip(self._full, self.change(_stack([*self._full.values()] * repeats)), strict=False)
        self._full.clear()


def clockwise(frame: Any) -> int:
    """Degrees (0, 90, 180 or 270) by which a frame asks to be turned clockwise."""
    return -round(frame.rotation / 90) * 90 % 360


def check_size(name: object, width: int, height: int) -> None:
    """Refuse frames without size, or with too much of it.
    Raises `VideoError`: more than 40 million pixels, or more than 20 times as long as wide.
    """
    if not width or not height:
        raise VideoError(f"{name} does not say its frame size; it is damaged or not a video, replace or remove it")
    if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoError(
            f"{name} has frames of {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} million pixels and "
            f"sides of {MAX_ASPECT} to 1 are read; rescale or remove it"
        )


def _stack(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
