"""Cached features as a PyTorch data set, in the place of videos."""

import copy
from collections.abc import Sequence
from functools import cached_property

from torch.utils.data import Dataset

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch, Sample, VideoDataset
from stillmotion.data.manifest import Clip
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
    order: str | None = None

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
        features = [self._read(item) for item in items]
        # Frame embeddings are few, and heads compute with them in float32.
        views = [{name: x.float() if name == "frames" else x for name, x in view.items()} for view in features]
        return Sample(index, clip.label, views)

    def _read(self, item: str) -> Features:
        if self.summary is None or self.store.memory is None:
            return self._made(item)
        key = (self.store.folder, item, self.summary.name, self.order)
        return self.store.memory.get(key, lambda: self._made(item))

    def _made(self, item: str) -> Features:
        view = self.store.read(item, self._stored)
        view = view if self.order is None else reorder(view, self.order)
        return view if self.summary is None else self.summary.make(view)

    def reordered(self, order: str) -> "FeatureDataset":
        """The same clips with their frames in another order, one of `models.order.ORDERS`, for a backbone that sees
        every frame alone; affinities in that order must be in the cache.
        """
        other = copy.copy(self)
        other.order, other.videos = order, None
        return other

    @property
    def _stored(self) -> tuple[str, ...]:
        return self.outputs if self.order is None else needed(self.outputs, self.order)

    def items(self, epoch: int, index: int) -> list[str]:
        """Names of what an epoch reads of a clip."""
        items = [item for view in self.views[index] for item in view.items()]
        return [items[view_of_epoch(self.seed, index, epoch, len(items))]] if self.train and items else items

    def held(self, epoch: int, index: int) -> bool:
        """Whether all that an epoch reads of a clip is in the cache."""
        return self._held(self.items(epoch, index))

    def _held(self, items: Sequence[str]) -> bool:
        return bool(items) and not any(self.store.lacking(item, self._stored) for item in items)
