"""Run the frozen backbone over videos, once, into a feature cache: planned first, resumable, past bad files."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stillmotion.backbones.clip import VisionTransformer, VisualFeatures
from stillmotion.backbones.weights import ClipWeights
from stillmotion.data.bad import BadVideo, BadVideos
from stillmotion.data.dataset import read_train_view, read_views
from stillmotion.data.manifest import Clip
from stillmotion.data.seeds import item_seed
from stillmotion.data.transforms import Augment
from stillmotion.errors import DiskError, StillmotionError, VideoError
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import sha256
from stillmotion.progress import progress_bar


@dataclass(frozen=True)
class View:
    """One view of one clip: number -1 stands for all test views, 0, 1, ... for random training views."""

    clip: Clip
    digest: str
    number: int
    augment: str = "none"

    def items(self, test_views: int) -> list[str]:
        """Names of the features in the store."""
        if self.number < 0:
            return [f"{self.digest}/test{i}" for i in range(test_views)]
        return [f"{self.digest}/{self.augment}{self.number}"]


@dataclass(frozen=True)
class Plan:
    """What encoding will cost."""

    views: int
    cached: int
    bytes: int
    seconds: float
    free: int
    folder: Path

    def __str__(self) -> str:
        if not self.views:
            return f"all {self.cached} views are in the feature cache {self.folder}"
        known = f", {self.cached} are cached already" if self.cached else ""
        minutes = self.seconds / 60
        duration = f"{minutes:.0f} min" if minutes >= 2 else f"{self.seconds:.0f} s"
        return (
            f"encoding {self.views} views{known}: {_size(self.bytes)} in {self.folder} "
            f"({_size(self.free)} free), about {duration}"
        )


class Encoder:
    """A frozen image tower with the taps that a cache is to hold.

    Args:
        weights: CLIP weights.
        spec: what is computed; its taps and preprocessing.
        device: where the tower runs.
    """

    def __init__(self, weights: ClipWeights, spec: FeatureSpec, device: torch.device):
        self.spec, self.clip, self.device = spec, weights.config, device
        with torch.device("meta"):
            tower = VisionTransformer(weights.config, taps=spec.taps)
        state = {k.removeprefix("visual."): v for k, v in weights.state.items() if k.startswith("visual.")}
        tower.load_state_dict(state, assign=True)
        self.tower = tower.to(device).eval().requires_grad_(False)

    def views_per_clip(self) -> int:
        """Test views of one clip."""
        return self.spec.sampling.views * self.spec.sampling.crops

    def measure(self) -> float:
        """Seconds that the backbone takes for one view, measured."""
        h, w = self.clip.vision.image_size
        blank = torch.zeros(1, self.spec.num_frames, 3, h, w)
        self.encode(blank)  # the first pass also finds memory and kernels
        started = time.perf_counter()
        self.encode(blank)
        return time.perf_counter() - started

    def encode(self, video: Tensor) -> VisualFeatures:
        """Encode a (1, T, 3, H, W) video on the encoder's device."""
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.spec.precision)
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            features: VisualFeatures = self.tower(video.to(self.device))
        return features


def plan(views: Sequence[View], encoder: Encoder, store: FeatureStore) -> Plan:
    """Count what is missing, what it will take, and whether the disk holds it.

    Raises:
        DiskError: not enough room.
    """
    per_clip = encoder.views_per_clip()
    items = [(view, item) for view in views for item in view.items(per_clip)]
    missing = sum(item not in store for _, item in items)
    size = missing * encoder.spec.bytes_per_view(encoder.clip)
    folder = store.folder
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    seconds = missing * encoder.measure() if missing else 0.0
    planned = Plan(missing, len(items) - missing, size, seconds, free, folder)
    if size * 1.02 > free:
        raise DiskError(
            f"the features of {missing} views take {_size(size)}, {existing} has {_size(free)} free; free some space, "
            "choose another disk with --cache, or use fewer views or frames"
        )
    return planned


def encode(
    views: Sequence[View],
    encoder: Encoder,
    store: FeatureStore,
    bad: BadVideos,
    augment: Augment | None = None,
    workers: int = 0,
) -> None:
    """Encode every view that the store lacks; bad videos are skipped and reported to `bad`.

    Interrupt it at any time: what was written stays, and the next call goes on from there.

    Raises:
        DataError: too many bad videos.
        DiskError: the disk became full.
    """
    per_clip = encoder.views_per_clip()
    todo = [view for view in views if any(item not in store for item in view.items(per_clip))]
    jobs = _Decoding(todo, encoder.spec, augment)
    loader: DataLoader[tuple[View, Tensor | BadVideo]] = DataLoader(
        jobs, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
    )
    try:
        with progress_bar("encoding", len(todo)) as bar:
            for view, video in loader:
                if isinstance(video, BadVideo):
                    bad.add(video)
                else:
                    _encode_view(view, video, encoder, store, bad)
                bar.advance()
    finally:
        store.flush()


def _encode_view(view: View, videos: Tensor, encoder: Encoder, store: FeatureStore, bad: BadVideos) -> None:
    for item, video in zip(view.items(len(videos)), videos, strict=True):
        features = encoder.encode(video[None])
        tensors = (features.frames_BTE, *(tap.out_BTLD for tap in features.taps))
        if not all(bool(torch.isfinite(t).all()) for t in tensors):
            bad.add(BadVideo(str(view.clip.path), f"{view.clip.path}: its features are not finite (NaN or infinite)"))
            return
        store.add(item, features)


class _Decoding(Dataset[tuple[View, Tensor | BadVideo]]):
    def __init__(self, views: Sequence[View], spec: FeatureSpec, augment: Augment | None):
        self.views, self.spec, self.augment = list(views), spec, augment

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> tuple[View, Tensor | BadVideo]:
        view, spec = self.views[i], self.spec
        path = view.clip.path
        try:
            if view.number < 0:
                return view, read_views(path, spec.num_frames, spec.sampling, spec.preprocess)
            if self.augment is None:
                raise StillmotionError("training views need an augmentation; pass one")
            seed = item_seed(view.digest, view.number, view.augment)
            return view, read_train_view(path, spec.num_frames, spec.sampling, self.augment, seed)[None]
        except VideoError as error:
            return view, BadVideo(str(path), str(error))


def views_of(clips: Sequence[Clip], random_views: int, augment: str, bad: BadVideos) -> list[list[View]]:
    """For each clip its test views, or some random ones; none, and a report to `bad`, for a file that is not there."""
    views: list[list[View]] = []
    for clip in clips:
        try:
            digest = sha256(clip.path)[:24]
        except OSError as error:
            bad.add(BadVideo(str(clip.path), f"cannot read {clip.path} ({error.strerror})"))
            views.append([])
            continue
        random = [View(clip, digest, n, augment) for n in range(random_views)]
        views.append(random or [View(clip, digest, -1)])
    return views


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
