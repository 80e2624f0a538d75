"""Videos as a PyTorch data set: each item is decoded, sampled and preprocessed when it is asked for."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from stillmotion.data.bad import BadVideo
from stillmotion.data.frames import Change
from stillmotion.data.inputs import VideoInput, name_of, open_input
from stillmotion.data.manifest import Clip, Manifest
from stillmotion.data.sampling import Average, Indices, Sampling
from stillmotion.data.seeds import item_seed
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.errors import StillmotionError, VideoError


@dataclass(frozen=True)
class Sample:
    """One clip: its views (V, T, 3, H, W) or cached features, or why it could not be read."""

    index: int
    label: int
    views: Any
    bad: BadVideo | None = None

    @classmethod
    def lost(cls, index: int, clip: Clip, why: str) -> "Sample":
        """What stands for a clip that ends the process that reads it."""
        return cls(index, clip.label, None, BadVideo.lost(clip.path, why))


class Batch(NamedTuple):
    """The readable clips of a batch, and the others. `views` are B * V: (B * V, T, 3, H, W), or their features."""

    indices: Tensor
    labels: Tensor
    views: Any  # None where no clip can be read
    num_views: int
    bad: list[BadVideo]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Batch":
        """Put samples together: videos, or features, which do not mix."""
        good = [s for s in samples if s.bad is None]
        views = [view for s in good for view in s.views]
        return cls(
            indices=torch.tensor([s.index for s in good], dtype=torch.int64),
            labels=torch.tensor([s.label for s in good], dtype=torch.int64),
            views=default_collate(views) if good else None,
            num_views=len(good[0].views) if good else 1,
            bad=[s.bad for s in samples if s.bad is not None],
        )


def read_views(video: VideoInput, num_frames: int, sampling: Sampling, preprocess: Preprocess) -> Tensor:
    """Decode and preprocess all test views of a video: (views * crops, T, 3, H, W) normalized float32.
    Raises `VideoError`: it cannot be read.
    """
    crops = sampling.crops
    frames = _decode(video, lambda n: sampling.test(n, num_frames), lambda frames: preprocess.scale(frames, crops))
    return torch.cat([preprocess.crop(view, crops) for view in frames.split(num_frames)])


def read_train_view(video: VideoInput, num_frames: int, sampling: Sampling, augment: Augment, seed: int) -> Tensor:
    """Decode one random view of a video: (T, 3, H, W) normalized float32; equal seeds give equal views.
    Raises `VideoError`: it cannot be read.
    """
    rng = np.random.RandomState(seed)
    # A pair of frames at a time, from the same draws for each.
    return _decode(video, lambda n: sampling.train(n, num_frames, rng), lambda frames: augment(frames, seed))


def read_clip(
    clip: Clip, num_frames: int, sampling: Sampling, how: Preprocess | Augment, seed: int
) -> Tensor | BadVideo:
    """All test views of a clip, (V, T, 3, H, W), or where `how` augments the random one of a seed, V = 1; a bad video
    where it cannot be read.
    """
    try:
        if isinstance(how, Augment):
            return read_train_view(clip.path, num_frames, sampling, how, seed)[None]
        return read_views(clip.path, num_frames, sampling, how)
    except VideoError as error:
        return BadVideo(str(clip.path), str(error))


class VideoDataset(Dataset[Sample]):
    """Clips of a manifest; `dataset[epoch, index]` is the clip with the random view of that epoch.

    `augment` makes random views for training; None gives the test views, the same at every epoch.
    """

    collate = staticmethod(Batch.of)
    orders: Mapping[str, list[int]] = MappingProxyType({})
    """Orders of frames by name: which frame of a view stands in each place."""

    def __init__(
        self,
        manifest: Manifest,
        num_frames: int,
        sampling: Sampling,
        preprocess: Preprocess,
        augment: Augment | None = None,
        seed: int = 0,
    ):
        self.manifest, self.clips, self.num_frames, self.sampling = manifest, manifest.clips, num_frames, sampling
        self.preprocess, self.augment, self.seed = preprocess, augment, seed

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        clip, seed = self.clips[index], item_seed(self.seed, epoch, index)
        views = read_clip(clip, self.num_frames, self.sampling, self.augment or self.preprocess, seed)
        if isinstance(views, BadVideo):
            return Sample(index, clip.label, None, views)
        return Sample(index, clip.label, views)

    def lost(self, key: tuple[int, int], why: str) -> Sample:
        """What stands for a clip that ends the process that reads it."""
        return Sample.lost(key[1], self.clips[key[1]], why)

    @property
    def average(self) -> Average:
        """How the scores of a clip's views are averaged."""
        return self.sampling.average

    def in_orders(self, orders: Mapping[str, list[int]]) -> "VideoDataset":
        """The same clips, whose views `in_order` can put into these orders: frame `orders[name][t]` in place t."""
        other = copy.copy(self)
        other.orders = orders
        return other

    def in_order(self, views: Tensor, order: str) -> Tensor:
        """Views (V, T, 3, H, W) as they are where `order` is none of `orders`, else with the frames of each in it."""
        return views[:, self.orders[order]] if order in self.orders else views


def _decode(video: VideoInput, pick: Callable[[int], Indices], change: Change) -> Tensor:
    """Decode the frames that `pick` chooses, row after row of its indices, and change each."""
    try:
        return open_input(video).sample(lambda num_frames: [int(i) for i in pick(num_frames).flatten()], change)[1]
    except StillmotionError:
        raise
    # Whatever a hostile file makes FFmpeg and PyAV do.
    except (ValueError, OSError, MemoryError, RuntimeError, LookupError, TypeError) as error:
        reason = str(error) or type(error).__name__
        raise VideoError(f"{name_of(video)} cannot be decoded ({reason}); replace or remove it") from error
