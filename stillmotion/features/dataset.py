"""Cached features as a PyTorch data set, in the place of videos."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch, Sample, VideoDataset
from stillmotion.data.manifest import Clip
from stillmotion.data.sampling import Average
from stillmotion.data.seeds import view_of_epoch
from stillmotion.features.encode import View
from stillmotion.features.store import FeatureStore
from stillmotion.files import short_digest
from stillmotion.models.features import Features, Summary
from stillmotion.models.order import needed, reorder


class FeatureDataset(Dataset[Sample]):
    """Features of clips; `dataset[epoch, index]` draws one of a clip's training views for each epoch.

    Args:
        views: of each clip, as `views_of` returns them.
        outputs: names of the outputs to read.
        train: take one view in each epoch, every one of them once in as many epochs; else all views.
        videos: the same clips, decoded where they are not in the cache; None: those count as bad videos.
        summary: all that a model reads of a view's features, where it is always the same; it is kept in memory.
    """

    collate = staticmethod(Batch.of)
    orders: Mapping[str, list[int]] = MappingProxyType({})
    """Orders of frames by name; where there are any, a sample holds what all of them are made of."""

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        views: Sequence[Sequence[View]],
        outputs: tuple[str, ...],
        train: bool,
        seed: int = 0,
        videos: VideoDataset | None = None,
        summary: Summary | None = None,
    ):
        self.store, self.clips, self.views = store, clips, views
        self.outputs, self.train, self.seed, self.videos, self.summary = outputs, train, seed, videos, summary

    @cached_property
    def content(self) -> object:
        """Equal for data sets that hold the same; found once, and only where several are trained together."""
        named = zip(self.clips, self.views)
        items = [[clip.label, *(item for view in found for item in view.items())] for clip, found in named]
        summary = self.summary and self.summary.name
        return self.store.folder, self.outputs, self.train, self.seed, short_digest(items), summary

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        clip, items = self.clips[index], self.items(epoch, index)
        if not self._held(items):
            if self.videos is not None:
                return self.videos[key]
            return Sample(index, clip.label, None, BadVideo(str(clip.path), f"{clip.path} could not be encoded"))
        if self.orders:
            return Sample(index, clip.label, [self.store.read(item, self._stored) for item in items])
        return Sample(index, clip.label, [_in_float32(self._read(item)) for item in items])

    def lost(self, key: tuple[int, int], why: str) -> Sample:
        """What stands for a clip that ends the process that reads it."""
        return Sample.lost(key[1], self.clips[key[1]], why)

    def _read(self, item: str) -> Features:
        if self.summary is None or self.store.memory is None:
            return self._made(item)
        key = (self.store.folder, item, self.summary.name)
        return self.store.memory.get(key, lambda: self._made(item))

    def _made(self, item: str) -> Features:
        return self._summed(self.store.read(item, self._stored))

    def _summed(self, view: Features) -> Features:
        return view if self.summary is None else self.summary.make(view)

    @property
    def average(self) -> Average:
        """How the scores of a clip's views are averaged."""
        return next((view.sampling.average for found in self.views for view in found), "softmax")

    def in_orders(self, orders: Mapping[str, list[int]]) -> "FeatureDataset":
        """The same clips, whose views `in_order` can put into these orders, for a backbone that sees every frame alone.

        They are of `models.order.ORDERS`; a clip whose affinities in all of them are not in the cache is decoded.
        """
        other = copy.copy(self)
        other.orders, other.videos = orders, None if self.videos is None else self.videos.in_orders(orders)
        return other

    def in_order(self, views: Any, order: str) -> Any:
        """A sample's views as they are where `order` is none of `orders`, else with the frames of each in it."""
        if isinstance(views, Tensor):
            assert self.videos is not None
            return self.videos.in_order(views, order)
        names = self.outputs if order not in self.orders else needed(self.outputs, order)
        found = []
        for view in views:
            read = {name: view[name] for name in names}
            found.append(_in_float32(self._summed(read if order not in self.orders else reorder(read, order))))
        return found

    @property
    def _stored(self) -> tuple[str, ...]:
        more = (name for order in self.orders for name in needed(self.outputs, order))
        return tuple(dict.fromkeys((*self.outputs, *more)))

    def items(self, epoch: int, index: int) -> list[str]:
        """Names of what an epoch reads of a clip."""
        items = [item for view in self.views[index] for item in view.items()]
        return [items[view_of_epoch(self.seed, index, epoch, len(items))]] if self.train and items else items

    def held(self, epoch: int, index: int) -> bool:
        """Whether all that an epoch reads of a clip is in the cache."""
        return self._held(self.items(epoch, index))

    def _held(self, items: Sequence[str]) -> bool:
        return bool(items) and not any(self.store.lacking(item, self._stored) for item in items)


def _in_float32(view: Features) -> Features:
    """Frame embeddings are few, and heads compute with them in float32."""
    return {name: x.float() if name == "frames" else x for name, x in view.items()}
