"""Cached features as a PyTorch data set, in the place of videos."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.data import Dataset

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch, Sample, VideoDataset
from stillmotion.data.manifest import Clip
from stillmotion.data.seeds import view_of_epoch
from stillmotion.features.encode import View
from stillmotion.features.store import FeatureStore, stack
from stillmotion.models.features import Features


class CachedTower(nn.Module):
    """Takes the place of the image tower when its outputs come from a cache.

    Args:
        tower: what encodes the videos whose outputs are not there; None: there are no such videos.
    """

    def __init__(self, tower: nn.Module | None = None):
        super().__init__()
        self.tower = tower

    def forward(self, batch: Features | Tensor) -> Features:
        """Pass the outputs on, frame embeddings in float32; or encode videos (B, T, 3, H, W)."""
        if isinstance(batch, Tensor):
            assert self.tower is not None
            return self.tower(batch)
        return {name: x.float() if name == "frames" else x for name, x in batch.items()}


class FeatureDataset(Dataset[Sample]):
    """Features of clips; `dataset[epoch, index]` draws one of a clip's training views for each epoch.

    Args:
        store: the cache.
        clips: the labeled clips.
        views: the views of each clip, as `views_of` returns them.
        outputs: names of the outputs to read.
        train: take one view in each epoch, every one of them once in as many epochs; else all views.
        seed: of the draws.
    """

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        views: Sequence[Sequence[View]],
        outputs: tuple[str, ...],
        train: bool,
        seed: int = 0,
    ):
        self.store, self.clips, self.views = store, clips, views
        self.outputs, self.train, self.seed = outputs, train, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        clip, items = self.clips[index], self.items(epoch, index)
        if not self.held(epoch, index):
            return Sample(index, clip.label, None, BadVideo(str(clip.path), f"{clip.path} could not be encoded"))
        return Sample(index, clip.label, [self.store.read(item, self.outputs) for item in items])

    def items(self, epoch: int, index: int) -> list[str]:
        """Names of what an epoch reads of a clip."""
        items = [item for view in self.views[index] for item in view.items()]
        return [items[view_of_epoch(self.seed, index, epoch, len(items))]] if self.train and items else items

    def held(self, epoch: int, index: int) -> bool:
        """Whether all that an epoch reads of a clip is in the cache."""
        items = self.items(epoch, index)
        return bool(items) and not any(self.store.lacking(item, self.outputs) for item in items)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Stack the features of the clips that have any."""
        return Batch.of(samples, lambda clips: stack([view for views in clips for view in views]))


class CachedVideos(Dataset[Sample]):
    """Test clips, from the cache where all of their views are there, and else decoded.

    Args:
        videos: the clips.
        features: the same ones, as far as they are cached.
    """

    def __init__(self, videos: VideoDataset, features: FeatureDataset):
        self.videos, self.features, self.clips = videos, features, videos.clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        sample = self.features[key]
        return sample if sample.bad is None else self.videos[key]

    def cached(self) -> int:
        """How many clips are in the cache."""
        return sum(self.features.held(0, index) for index in range(len(self)))

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Put together what came from one place: `eval.evaluate.score` keeps videos and features apart."""
        one = next((s.views for s in samples if s.bad is None), None)
        return (FeatureDataset if isinstance(one, list) else VideoDataset).collate(samples)
