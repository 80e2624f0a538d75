"""What is taken for a video: a path, bytes, an open file, frames in memory, or an opened `Video`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.data.frames import Change, Kept, check_size
from stillmotion.data.video import Video, open_video
from stillmotion.errors import VideoError


@dataclass(frozen=True, repr=False)
class Frames:
    """All frames of a video, in memory: T upright images (H, W, 3), uint8 RGB, of one size."""

    images: Sequence[NDArray[np.uint8]]
    name: str = "these frames"

    def __repr__(self) -> str:
        height, width, _ = self.images[0].shape
        return f"<Frames: {len(self.images)} of {width}x{height}>"

    @property
    def num_frames(self) -> int:
        """How many there are."""
        return len(self.images)

    def sample(self, pick: Callable[[int], Sequence[int]], change: Change | None = None) -> tuple[list[int], Tensor]:
        """Let `pick` choose indices from the frame count, and return them and their frames as `Video.sample` does."""
        indices, kept = [int(i) for i in pick(len(self.images))], Kept(self.name, change)
        for index in sorted(set(indices)):  # as they would be decoded
            kept.put(index, self.images[index])
        return indices, kept.of(indices)


VideoInput: TypeAlias = (
    str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8] | Tensor | Sequence[Any] | Video | Frames
)
"""A path; the content of a file; a file that is open for binary reading; (T, H, W, 3) uint8 RGB frames, an array or a
tensor; a sequence of PIL images or of (H, W, 3) uint8 arrays; an opened `Video`."""


def open_input(video: VideoInput) -> Video | Frames:
    """Open whatever stands for a video.
    Raises `VideoError`: a file that cannot be read, frames of another type, layout or size, or something else.
    """
    if isinstance(video, (Video, Frames)):
        return video
    if isinstance(video, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(video, "read"):
        return open_video(video)  # type: ignore[arg-type]
    if isinstance(video, (bool, int, float, np.number)):
        raise VideoError(f"{video!r} is a number; cameras are not read: record to a file, or pass frames")
    if isinstance(video, (np.ndarray, Tensor)):
        array = _array(video, 4, "(T, H, W, 3)")
        if not len(array):
            raise VideoError("there are no frames (T is 0); pass at least one")
        return _frames(array)  # type: ignore[arg-type]  # an array is a sequence of its rows
    if isinstance(video, Sequence):
        return _listed(video)
    raise VideoError(
        f"a {type(video).__name__} is no video; pass a path, bytes, an open file, frames (T, H, W, 3), or a list of "
        "images"
    )


def name_of(video: VideoInput) -> str:
    """What to call a video in messages: its path, or what it is."""
    if isinstance(video, (str, os.PathLike)):
        return str(video)
    if isinstance(video, (Video, Frames)):
        return video.name
    shape = getattr(video, "shape", None)
    return f"{type(video).__name__} {getattr(video, 'name', '')}".strip() if shape is None else f"frames {tuple(shape)}"


def _listed(images: Sequence[Any]) -> Frames:
    if not images:
        raise VideoError("there are no frames (the list is empty); pass at least one image")
    found = []
    for number, image in enumerate(images):
        if isinstance(image, (str, os.PathLike)):
            raise VideoError(
                f"item {number} of the list is a path; pass one video, or several to `predict`, which takes them all"
            )
        if hasattr(image, "convert"):  # PIL's, which need not be installed
            image = np.asarray(image.convert("RGB"))
        if not isinstance(image, (np.ndarray, Tensor)):
            raise VideoError(f"item {number} of the list is a {type(image).__name__}; pass PIL images or uint8 arrays")
        found.append(_array(image, 3, "(H, W, 3)", f"image {number}"))
    return _frames(found)


def _array(frames: NDArray[Any] | Tensor, dimensions: int, layout: str, name: str = "frames") -> NDArray[np.uint8]:
    shape, dtype = tuple(frames.shape), str(frames.dtype).removeprefix("torch.")
    said = f"{name} of shape {shape}"
    if dtype != "uint8":
        mend = "multiply those in [0, 1] by 255, round, and" if "float" in dtype else "bring the values to [0, 255] and"
        raise VideoError(f"{said} are {dtype}, not uint8; {mend} convert to uint8")
    if len(shape) == dimensions and shape[-1] != 3 and shape[-3] == 3:
        order = {4: "(0, 2, 3, 1)", 3: "(1, 2, 0)"}[dimensions]
        raise VideoError(f"{said} have channels first; pass {layout}: permute (NumPy: transpose) by {order}")
    if len(shape) != dimensions or shape[-1] != 3:
        hint = "; pass one image as a list of one" if (dimensions, len(shape)) == (4, 3) else f"; pass {layout}"
        raise VideoError(f"{said} are not {layout} in RGB{hint}")
    return frames.detach().cpu().numpy() if isinstance(frames, Tensor) else frames


def _frames(images: Sequence[NDArray[np.uint8]]) -> Frames:
    first = images[0].shape
    for number, image in enumerate(images):
        if image.shape != first:
            sizes = [f"{width}x{height}" for height, width, _ in (image.shape, first)]
            raise VideoError(f"image {number} is {sizes[0]} pixels, the first one {sizes[1]}; make all of one size")
    frames = Frames(images)
    if not first[0] or not first[1]:
        raise VideoError(f"{frames.name} are {first[1]}x{first[0]} pixels; pass at least one pixel")
    check_size(frames.name, first[1], first[0])
    return frames
