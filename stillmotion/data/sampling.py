"""Which frames to read: pure functions from a frame count to indices, equal to the official samplers'.

Random ones take a `numpy.random.RandomState`, whose stream NumPy has frozen, so that a seed means the same for ever.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import StillmotionError, at_least

Indices = NDArray[np.int64]
Average = Literal["softmax", "logits"]
Scheme = Literal["segments", "dense", "evl_segments", "actionclip", "actionclip_middle", "random_stride"]
STRIDES = (1, 2, 3, 3, 3, 4)  # A5 draws one of them


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How frames are chosen; it is stored with a model, because the model expects it."""

    scheme: Scheme = "segments"
    """`segments`: one frame from each of T equal parts; `dense`: T frames at a fixed stride (EVL on Kinetics);
    `evl_segments`: EVL on Something-Something; `actionclip`: its segments, `actionclip_middle`: those of the test in
    training too (its UCF-101 and HMDB-51); `random_stride`: a window at a random stride, at test too (A5)."""
    stride: int = 16
    """Frames from one sampled frame to the next, for `dense`."""
    views: int = 1
    """Temporal views at test time, averaged."""
    crops: Literal[1, 3] = 1
    """Spatial crops at test time, averaged."""
    average: Average = "softmax"
    """How views are averaged: probabilities (`softmax`, before the mean), or `logits`, whose mean goes into the softmax
    once, so that a view that is sure counts for more (recognizers of MMAction2 with `average_clips='score'`)."""

    def __post_init__(self) -> None:
        at_least(1, self, "stride", "views")

    def test(self, num_frames: int, T: int) -> Indices:
        """(views, T) indices of the test views."""
        if self.scheme == "dense":
            return dense_test(num_frames, T, self.stride, self.views)
        own = {"actionclip": actionclip_test, "actionclip_middle": actionclip_test, "random_stride": random_stride_test}
        return own.get(self.scheme, segments_test)(num_frames, T, self.views)

    def train(self, num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
        """(T,) indices of one random training view."""
        if self.scheme == "dense":
            return dense_train(num_frames, T, self.stride, rng)
        if self.scheme == "actionclip_middle":
            return actionclip_test(num_frames, T)[0]
        own = {"evl_segments": segments_train_evl, "actionclip": actionclip_train, "random_stride": random_stride_train}
        return own.get(self.scheme, segments_train)(num_frames, T, rng)


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
    """EVL's training view on Something-Something: one frame from each of T segments whose ends are shared; (T,).

    Its own test view of this kind raises an error, so the scheme `evl_segments` is tested on the middle of each of T
    equal segments.
    """
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


def actionclip_test(num_frames: int, T: int, views: int = 1) -> Indices:
    """ActionCLIP's test view, the middle of each of T segments, rounded down from half a frame earlier; (views, T).

    V views take the places (v + 1/2) / V of every segment. A video with T frames or fewer repeats frames evenly.
    """
    _check(num_frames, T)
    place = (np.arange(views) + 0.5) / views
    offset = max(num_frames / T - 1, 0) * place
    return np.asarray(np.floor(np.arange(T) * num_frames / T + offset[:, None]), dtype=np.int64)


def actionclip_train(num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
    """ActionCLIP's training view: one random frame from each of T segments that begin at floor(i n / T); (T,).

    A video with T frames or fewer gives each of them once, and random ones again.
    """
    _check(num_frames, T)
    if num_frames <= T:
        again = rng.randint(num_frames, size=T - num_frames)
        return np.asarray(np.sort(np.concatenate([np.arange(num_frames), again])), dtype=np.int64)
    ticks = [i * num_frames // T for i in range(T + 1)]
    return np.array([lo + rng.randint(hi - lo) for lo, hi in pairwise(ticks)], dtype=np.int64)


def random_stride_train(num_frames: int, T: int, rng: np.random.RandomState) -> Indices:
    """A5's view, in training and at test: a random window of T frames at a random stride; (T,).

    The release draws strides from Python's generator and the rest from NumPy's; here one generator gives all.
    """
    return stride_window(num_frames, T, STRIDES[rng.randint(len(STRIDES))], rng)


def random_stride_test(num_frames: int, T: int, views: int = 1) -> Indices:
    """View v is the training view that seed v draws, so nothing is random; (views, T). The release draws five anew."""
    return np.stack([random_stride_train(num_frames, T, np.random.RandomState(v)) for v in range(views)])


def stride_window(num_frames: int, T: int, stride: int, rng: np.random.RandomState) -> Indices:
    """T neighbors of the frames that a stride gives from a random phase on; (T,).

    As the release has it: the frames are spread evenly from the phase to the last one, so that a step may be one frame
    longer than the stride; the very last window is never drawn; a stride that leaves T frames or fewer becomes 1; and
    a video with T frames or fewer repeats its last one.
    """
    _check(num_frames, T)
    if num_frames <= T:
        return np.asarray(np.minimum(np.arange(T), num_frames - 1), dtype=np.int64)
    frames = np.linspace(rng.randint(stride), num_frames - 1, num=round(num_frames / stride), dtype=np.int64)
    if len(frames) <= T:
        frames = np.arange(num_frames, dtype=np.int64)
    start = rng.randint(len(frames) - T)
    return np.asarray(frames[start : start + T], dtype=np.int64)


def crop_offsets(size: tuple[int, int], crop: tuple[int, int], crops: Literal[1, 3]) -> list[tuple[int, int]]:
    """(top, left) of the test crops of a resized frame: the middle one, or three along the longer side."""
    room = (size[0] - crop[0], size[1] - crop[1])
    if crops == 1:
        return [(room[0] // 2, room[1] // 2)]
    return [(0, 0), (room[0] // 2, room[1] // 2), room]


def _check(num_frames: int, T: int) -> None:
    if num_frames < 1 or T < 1:
        raise StillmotionError(f"{T} frames asked of a video with {num_frames}; both must be at least 1")
