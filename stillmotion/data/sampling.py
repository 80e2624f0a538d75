"""Which frames to read: pure functions from a frame count to indices, equal to the official samplers'.

Random ones take a `numpy.random.RandomState`, whose stream NumPy has frozen, so that a seed means the same for ever.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import StillmotionError

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How frames are chosen; it is stored with a model, because the model expects it."""

    scheme: Literal["segments", "dense"] = "segments"
    """`segments`: one frame from each of T equal parts; `dense`: T frames at a fixed stride (EVL on Kinetics)."""
    stride: int = 16
    """Frames from one sampled frame to the next, for `dense`."""
    views: int = 1
    """Temporal views at test time, averaged."""
    crops: Literal[1, 3] = 1
    """Spatial crops at test time, averaged."""

    def __post_init__(self) -> None:
        for name in ("stride", "views"):
            if getattr(self, name) < 1:
                raise StillmotionError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def test(self, num_frames: int, T: int) -> Indices:
        """(views, T) indices of the test views."""
        if self.scheme == "dense":
            return dense_test(num_frames, T, self.stride, self.views)
        return segments_test(num_frames, T, self.views)

    def train(self, num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
        """(T,) indices of one random training view."""
        if self.scheme == "dense":
            return dense_train(num_frames, T, self.stride, rng)
        return segments_train(num_frames, T, rng)


def segments_test(num_frames: int, T: int, views: int = 1) -> Indices:
    """One frame at the same place in each of T equal segments; (views, T).

    A single view takes the middle of each segment, as ViFi-CLIP and X-CLIP do (TSN, test mode); V views take the
    places (v + 1/2) / V, so that views differ and nothing is random.
    """
    _check(num_frames, T)
    place = (np.arange(views) + 0.5) / views
    indices = np.floor((np.arange(T) + place[:, None]) * num_frames / T)
    return np.asarray(np.minimum(indices, num_frames - 1), dtype=np.int64)


def segments_train(num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
    """One random frame from each of T equal segments; (T,). As in ViFi-CLIP and X-CLIP, their rounding included."""
    _check(num_frames, T)
    length = num_frames // T
    if length > 0:
        return np.asarray(np.arange(T) * length + rng.randint(length, size=T), dtype=np.int64)
    # Fewer frames than segments: even steps rounded half to even; the release wraps an index past the end to 0.
    return np.asarray(np.around(np.arange(T) * (num_frames / T)).astype(np.int64) % num_frames, dtype=np.int64)


def segments_train_evl(num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
    """EVL's `--tsn_sampling` in training: one frame from each of T segments whose ends are shared; (T,)."""
    _check(num_frames, T)
    length = (num_frames - 1) / T
    edges = [round(i * length) for i in range(T + 1)]
    return np.array([rng.randint(lo, hi + 1) for lo, hi in pairwise(edges)], dtype=np.int64)


def dense_test(num_frames: int, T: int, stride: int, views: int) -> Indices:
    """EVL's test views: T frames at a stride, starts spread evenly over the video; (views, T).

    A video that is too short repeats its last frame.
    """
    _check(num_frames, T)
    length = (T - 1) * stride + 1
    room = max(num_frames - length, 0)
    starts = [room // 2] if views == 1 else [round(room / (views - 1) * i) for i in range(views)]
    indices = np.array(starts)[:, None] + np.arange(T) * stride
    return np.asarray(np.minimum(indices, num_frames - 1), dtype=np.int64)


def dense_train(num_frames: int, T: int, stride: int, rng: np.random.RandomState) -> Indices:
    """EVL's training view: T frames at a stride from a random start; (T,).

    A video that is too short repeats the last frame that the stride reached.
    """
    _check(num_frames, T)
    length = (T - 1) * stride + 1
    if num_frames < length:
        last = (num_frames - 1) // stride
        return np.asarray(np.minimum(np.arange(T), last) * stride, dtype=np.int64)
    start = rng.randint(num_frames - length + 1)
    return np.asarray(start + np.arange(T) * stride, dtype=np.int64)


def crop_offsets(size: tuple[int, int], crop: tuple[int, int], crops: Literal[1, 3]) -> list[tuple[int, int]]:
    """(top, left) of the test crops of a resized frame: the middle one, or three along the longer side."""
    room = (size[0] - crop[0], size[1] - crop[1])
    if crops == 1:
        return [(room[0] // 2, room[1] // 2)]
    return [(0, 0), (room[0] // 2, room[1] // 2), room]


def _check(num_frames: int, T: int) -> None:
    if num_frames < 1 or T < 1:
        raise StillmotionError(f"{T} frames asked of a video with {num_frames}; both must be at least 1")
