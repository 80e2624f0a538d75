"""Run the frozen backbone over videos, once, into a feature cache: planned first, resumable, past bad files."""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stillmotion.backbones.runtimes import RUNTIMES, Runtime, usable
from stillmotion.backbones.weights import Weights, image_tower
from stillmotion.data.bad import BadVideo, BadVideos
from stillmotion.data.dataset import read_clip
from stillmotion.data.loader import batches
from stillmotion.data.manifest import Clip
from stillmotion.data.sampling import Sampling
from stillmotion.data.seeds import item_seed
from stillmotion.data.transforms import Augment
from stillmotion.errors import DiskError, StillmotionError
from stillmotion.features.packing import packs
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.models.features import FRAMES, Features, Reads
from stillmotion.progress import duration, progress_bar, say, size_of

_T = TypeVar("_T")
FRAMES_AT_ONCE = 128
"""On a GPU."""
HASHERS = 4
"""Threads that read files for their digests: a disk gives more to several, and hashing lets Python go on."""


@dataclass(frozen=True)
class View:
    """All test views of one clip, or one of its random training views."""

    clip: Clip
    digest: str
    """Of the file's content."""
    sampling: Sampling
    number: int | None = None
    """Of a training view; None: the test views."""
    augment: str = "none"

    def items(self) -> list[str]:
        """Names of the features in the store."""
        if self.number is not None:
            return [f"{self.digest}/{self.augment}{self.number}"]
        V, C = self.sampling.views, self.sampling.crops
        return [f"{self.digest}/test-{v}of{V}-{c}of{C}" for v in range(V) for c in range(C)]


@dataclass(frozen=True)
class Plan:
    """What encoding will cost."""

    views: int
    videos: int
    """That these are views of."""
    cached: int
    bytes: int
    seconds: float
    free: int
    folder: Path
    again: int = 0
    """Views of which the cache has other outputs than those that are read."""
    lacking: tuple[str, ...] = ()
    """What it lacks of them."""

    def __str__(self) -> str:
        if not self.views:
            return f"all {self.cached} views are in the feature cache {self.folder}"
        known = f", {self.cached} are cached already" if self.cached else ""
        if self.again:
            known += f" ({self.again} of them anew: the cache holds them without {', '.join(self.lacking)})"
        return (
            f"encoding {self.views} views of {self.videos} videos{known}: {size_of(self.bytes)} in {self.folder} "
            f"({size_of(self.free)} free), about {duration(self.seconds)}"
        )


class Encoder:
    """A frozen image tower, on a device, that gives the outputs `reads` for a cache."""

    def __init__(self, weights: Weights, spec: FeatureSpec, reads: Reads, device: torch.device):
        self.spec, self.backbone, self.device = spec, weights.backbone, device
        self.outputs = reads.names(weights.backbone.layers)
        if f"out.{weights.backbone.layers - 1}" in self.outputs and "frames" in weights.backbone.offers:
            reads |= FRAMES  # a thousandth of the tokens, for a probe that comes later; the last block runs anyway
        self.gives = reads.names(weights.backbone.layers)
        """What is stored of a view that is encoded: `outputs`, without which it is, and what costs almost nothing."""
        self.batch = max(1, FRAMES_AT_ONCE // spec.num_frames) if device.type != "cpu" else 1
        """Views of one pass: a CPU gains nothing from more."""
        self._weights, self._reads = weights, reads

    @cached_property
    def _run(self) -> Runtime:
        """The tower, built when the first view is encoded: a full cache needs none.
        Raises `StillmotionError`: this machine cannot run it so.
        """
        name = self.spec.runtime
        if self.device.type == "cpu" and name != "openvino" and not usable(name):
            raise StillmotionError(f"this machine cannot run {name}; pass --runtime fp32")
        return RUNTIMES[name](image_tower(self._weights, self._reads), self.device)

    @property
    def bytes_per_view(self) -> int:
        """Size of one view: 14 MB for four blocks of ViT-B/16 at 8 frames with affinities, 8 kB for frames alone."""
        sizes = {name: prod(self.backbone.shape(name, self.spec.num_frames)) for name in self.gives}
        packed = self.spec.tokens == "int8"
        return sum(size if packed and packs(name) else 2 * size for name, size in sizes.items())

    def measure(self) -> float:
        """Seconds that one view takes, measured."""
        blank, ends = torch.zeros(1, self.spec.num_frames, 3, *self.backbone.pixels.size), []
        for _ in range(2):  # the first pass also finds memory and kernels
            self.encode(blank)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            ends.append(time.perf_counter())
        return ends[1] - ends[0]

    def encode(self, video: Tensor) -> Features:
        """Encode (B, T, 3, H, W) videos on the encoder's device."""
        return self._run(video)


def plan(views: Sequence[View], encoder: Encoder, store: FeatureStore, processes: int = 1) -> Plan:
    """Count what is missing, what it will take with so many processes, and whether the disk holds it.
    Raises `DiskError`: not enough room.
    """
    items = [item for view in views for item in view.items()]
    todo = [view.digest for view in views for item in view.items() if store.lacking(item, encoder.outputs)]
    missing, videos = len(todo), len(set(todo))
    lacked = [store.lacking(item, encoder.outputs) for item in items if store.holds(item)]
    lacking = tuple(dict.fromkeys(name for names in lacked for name in names))
    size = missing * encoder.bytes_per_view
    existing = next(p for p in (store.folder, *store.folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    seconds = missing * encoder.measure() / processes if missing else 0.0
    if size * 1.02 > free:
        raise DiskError(
            f"the features of {missing} views take {size_of(size)}, {existing} has {size_of(free)} free; free some "
            "space, choose another disk with --cache, or use fewer views or frames"
        )
    again = sum(map(bool, lacked))
    return Plan(missing, videos, len(items) - missing, size, seconds, free, store.folder, again, lacking)


def encode(
    views: Sequence[View],
    encoder: Encoder,
    store: FeatureStore,
    bad: BadVideos,
    augment: Augment | None = None,
    workers: int = 0,
) -> None:
    """Encode every view that the store lacks; bad videos are skipped and reported to `bad`.
    Raises `DataError`: too many bad videos; `StillmotionError`: outputs that are not finite, or that float16 cannot
    hold; `DiskError`: the disk became full.

    Interrupt it at any time: what was written stays, and the next call goes on from there.
    """
    store.sweep()
    todo = [view for view in views if any(store.lacking(item, encoder.outputs) for item in view.items())]
    flow, waiting = _Flow(), list[_One]()
    try:
        with progress_bar("encoding", len(todo)) as advance:
            for view, video in flow.timed(batches(_Decoding(todo, encoder.spec, augment), workers, ahead=4)):
                if isinstance(video, BadVideo):
                    bad.add(video)
                else:
                    named = zip(view.items(), video, strict=True)
                    waiting += [_One(view, k, one) for k, one in named if store.lacking(k, encoder.outputs)]
                while len(waiting) >= encoder.batch:
                    _encode_views([waiting.pop(0) for _ in range(encoder.batch)], encoder, store)
                advance(note=str(flow))
            _encode_views(waiting, encoder, store)
    finally:
        store.flush()
    if todo:
        say(f"encoded {flow}")


class _Flow:
    """How fast clips go through the tower, and how long it waits for them."""

    def __init__(self) -> None:
        self.clips, self.waited, self.started = 0, 0.0, time.perf_counter()

    def timed(self, clips: Iterable[_T]) -> Iterator[_T]:
        """The same clips, with an eye on the clock."""
        asked = time.perf_counter()
        for clip in clips:
            self.waited += time.perf_counter() - asked
            self.clips += 1
            yield clip
            asked = time.perf_counter()

    def __str__(self) -> str:
        seconds = max(time.perf_counter() - self.started, 1e-9)  # a clock may stand still
        return f"{self.clips / seconds:.3g} clips/s, {100 * self.waited / seconds:.0f} % waiting for videos"


class _One(NamedTuple):
    """A view that is decoded."""

    view: View
    item: str
    video: Tensor


def _encode_views(views: Sequence[_One], encoder: Encoder, store: FeatureStore) -> None:
    """Encode views in one pass, and store what the cache lacks of each."""
    if not views:
        return
    features = encoder.encode(torch.stack([one.video for one in views]))
    for place, one in enumerate(views):
        try:
            store.add(one.item, {name: features[name][place] for name in store.lacking(one.item, encoder.gives)})
        except StillmotionError as error:
            raise StillmotionError(f"{one.view.clip.path}: {error}") from error


class _Decoding(Dataset[tuple[View, Tensor | BadVideo]]):
    def __init__(self, views: Sequence[View], spec: FeatureSpec, augment: Augment | None):
        self.views, self.spec, self.augment = list(views), spec, augment

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> tuple[View, Tensor | BadVideo]:
        view, spec = self.views[i], self.spec
        how = spec.preprocess if view.number is None else self.augment
        assert how is not None
        seed = item_seed(view.digest, view.number or 0, view.augment)
        return view, read_clip(view.clip, spec.num_frames, view.sampling, how, seed)

    def lost(self, i: int, why: str) -> tuple[View, BadVideo]:
        return self.views[i], BadVideo.lost(self.views[i].clip.path, why)


def views_of(
    clips: Sequence[Clip], sampling: Sampling, bad: BadVideos, digests: Digests, random: int = 0, augment: str = "none"
) -> list[list[View]]:
    """Of each clip its test views, or so many random ones; none, and a report to `bad`, of a file that is not there."""

    def digest(clip: Clip) -> str | OSError:
        try:
            return digests.digest(clip.path)[:24]
        except OSError as error:
            return error

    views: list[list[View]] = []
    pool = ThreadPoolExecutor(HASHERS)
    try:
        with progress_bar("reading", len(clips)) as advance:
            for clip, found in zip(clips, pool.map(digest, clips)):
                advance()
                if isinstance(found, OSError):
                    bad.add(BadVideo(str(clip.path), f"cannot read {clip.path} ({found.strerror})"))
                    views.append([])
                else:
                    drawn = [View(clip, found, sampling, n, augment) for n in range(random)]
                    views.append(drawn or [View(clip, found, sampling)])
    finally:
        pool.shutdown(cancel_futures=True)
        digests.save()
    return views
