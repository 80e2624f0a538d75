"""Cached features as a PyTorch data set, in the place of videos."""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import Dataset

from stillmotion.backbones.clip import VisualFeatures
from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch, Sample
from stillmotion.data.manifest import Clip
from stillmotion.data.seeds import view_of_epoch
from stillmotion.features.encode import View
from stillmotion.features.store import FeatureStore, stack


class CachedTower(nn.Module):
    """Takes the place of the image tower when its features come from a cache."""

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Pass the features on; pooled embeddings in float32."""
        return features._replace(frames_BTE=features.frames_BTE.float())


class FeatureDataset(Dataset[Sample]):
    """Features of clips; `dataset[epoch, index]` draws one of a clip's training views for each epoch.

    Args:
        store: the cache.
        clips: the labeled clips.
        views: the views of each clip, as `views_of` returns them.
        test_views: test views of a clip.
        taps: blocks to read, of those that the cache holds.
        train: draw one random view per epoch (the middle test view where there are none); else all test views.
        seed: of the draws.
    """

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        views: Sequence[Sequence[View]],
        test_views: int,
        taps: tuple[int, ...],
        train: bool,
        seed: int = 0,
    ):
        self.store, self.clips, self.views = store, clips, views
        self.test_views, self.taps, self.train, self.seed = test_views, taps, train, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        clip, items = self.clips[index], self._items(epoch, index)
        if not items or any(item not in self.store for item in items):
            return Sample(index, clip.label, None, BadVideo(str(clip.path), f"{clip.path} could not be encoded"))
        return Sample(index, clip.label, [self.store.read(item, self.taps) for item in items])

    def _items(self, epoch: int, index: int) -> list[str]:
        views = self.views[index]
        items = [item for view in views for item in view.items(self.test_views)]
        if not self.train or not items:
            return items
        drawn = items if views[0].number >= 0 else [items[len(items) // 2]]
        return [drawn[view_of_epoch(self.seed, index, epoch, len(drawn))]]

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Stack the features of the clips that have any."""
        return Batch.of(samples, lambda clips: stack([view for views in clips for view in views]))
