"""Where a run's batches come from: videos, or outputs that a frozen backbone gave once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from stillmotion.backbones.clip_files import cache_folder
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.runtimes import RUNTIMES
from stillmotion.backbones.weights import Weights
from stillmotion.checkpoint import Card, read_card
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.loader import data_workers
from stillmotion.data.manifest import Manifest
from stillmotion.data.short import say_if_short
from stillmotion.data.transforms import Augment
from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.features.choice import choose
from stillmotion.features.dataset import FeatureDataset
from stillmotion.features.encode import Encoder, View, encode, plan, views_of
from stillmotion.features.memory import Memory
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.models.features import Reads
from stillmotion.models.order import COMPUTED
from stillmotion.progress import say
from stillmotion.recipes.base import Recipe


class Source(Protocol):
    """Training and validation clips, as data sets that are indexed by (epoch, index) and have a `collate`."""

    train: Any
    val: Any

    @property
    def runtime(self) -> str:
        """How the backbone runs where it is frozen."""

    @property
    def kind(self) -> object:
        """Equal for sources that one pass of the backbone fills."""

    def fill(self, reads: Reads, orders: bool = False) -> None:
        """Compute, once, what will be read; `orders`: of validation clips with their frames in other orders, too."""

    def tell(self, other: "Source") -> None:
        """Tell another of the same kind which videos could not be read, and why."""


class Caches:
    """What the runs of a process share: feature caches, each opened once, in a folder (None: the user's), the digests
    of files, memory, and the weights that were loaded.
    """

    def __init__(self, folder: Path | None = None, digests: Digests | None = None):
        self.folder, self.digests = feature_folder(folder), digests or Digests(None)
        self.memory: Memory | None = None
        self._open: dict[str, FeatureStore] = {}
        self._weights: dict[Any, Weights] = {}

    def remember(self, on: bool) -> None:
        """Keep what is read in memory, or not: where other processes read the clips, each would have its own."""
        self.memory = (self.memory or Memory()) if on else None
        for store in self._open.values():
            store.memory = self.memory

    def open(self, spec: FeatureSpec) -> FeatureStore:
        """The cache of a way of computing features."""
        if spec.key not in self._open:
            self._open[spec.key] = FeatureStore(self.folder, spec, self.memory)
        return self._open[spec.key]

    def weights(self, recipe: Recipe[Any], start: Path | None = None, text: Path | None = None) -> Weights:
        """The weights of a recipe's backbone, those inside a trained file `start` where one is given.
        Raises `StillmotionError`: the method reads class names, and neither have the weights a text tower nor is there
        a file `text` of class embeddings; or its frames make no whole number of steps of time.
        """
        which = (recipe.backbone, recipe.image_size, start)
        if which not in self._weights:
            base = None if start is None or recipe.backbone == "auto" else recipe.backbone
            if start is not None:
                read_card(start)
            self._weights[which] = load_backbone(str(start or recipe.backbone), image_size=recipe.image_size, base=base)
        weights = self._weights[which]
        if recipe.method.needs_text and weights.backbone.text is None and text is None:
            raise StillmotionError(
                f"{weights.name} holds an image tower only, this method compares videos with class names; pass "
                "--backbone with weights that have a text tower (a local CLIP file, or ViT-B-16:openai), or class "
                "embeddings (--text-features)"
            )
        weights.backbone.steps(recipe.method.num_frames)  # refuses what makes no whole number of them
        return weights


def feature_folder(cache: Path | None) -> Path:
    """The folder of the feature cache; None: in the user's cache folder."""
    return cache or cache_folder() / "features"


def runtime_of(recipe: Recipe[Any], device: str) -> str:
    """Name of the runtime of a recipe's frozen backbone on a kind of device, where nothing else decides it.
    Raises `StillmotionError`: there is none of that name.
    """
    name = recipe.runtime
    if name != "auto" and name not in RUNTIMES:
        raise StillmotionError(f"there is no runtime {name!r}{did_you_mean(name, ('auto', *RUNTIMES))}")
    return name if name != "auto" else recipe.train.precision if device == "cuda" else "fp32"


def on_all(accelerator: Accelerator, decide: Callable[[], str]) -> str:
    """What the first process decides, on all of them. Raises `StillmotionError`: on all, what that raises."""
    if accelerator.num_processes == 1:
        return decide()
    said: list[Any] = [None]
    if accelerator.is_main_process:
        try:
            said = [decide()]
        except StillmotionError as error:
            said = [error]
    broadcast_object_list(said)
    if isinstance(said[0], StillmotionError):
        raise said[0]
    return str(said[0])


def cached_videos(card: Card, videos: VideoDataset, cache: Path | None = None) -> FeatureDataset | None:
    """Test clips of a trained model, from the feature cache where they are in it; None: its backbone is not frozen.

    `videos` are the clips as the model reads them; `cache` is the folder of the cache, None: the user's.
    """
    fingerprint = card.fingerprints.get("visual.")
    if not card.method.frozen or fingerprint is None:
        return None
    how = {name: getattr(videos, name) for name in ("num_frames", "preprocess", "sampling")}
    spec = FeatureSpec(backbone=fingerprint, runtime=card.runtime, tokens=card.stored, **how)
    store = FeatureStore(feature_folder(cache), spec)
    if not store.folder.is_dir():
        return None  # so that no file is read for its name in the cache
    bad = BadVideos(None, len(videos), 1.0)
    views = views_of(videos.clips, videos.sampling, bad, Digests(feature_folder(cache)))
    names = card.method.reads().names(card.backbone.layers)
    return FeatureDataset(store, videos.clips, views, names, train=False, videos=videos)


class PixelSource:
    """Videos, decoded for every batch: for methods that train the backbone."""

    kind = None

    def __init__(self, recipe: Recipe[Any], weights: Weights, clips: tuple[Manifest, Manifest], device: str):
        (train, val), self.runtime = clips, runtime_of(recipe, device)
        if recipe.cached_views:
            raise StillmotionError(
                f"cached-views is {recipe.cached_views} and this method trains the backbone: nothing is cached; "
                "leave it out"
            )
        preprocess, T = recipe.preprocess(weights.backbone.pixels), recipe.method.num_frames
        say_if_short(train.clips, T)
        augment = Augment(recipe.augment, preprocess, recipe.flip)
        one_view = replace(recipe.sampling, views=1, crops=1)
        self.train = VideoDataset(train, T, one_view, preprocess, augment, recipe.train.seed)
        self.val = VideoDataset(val, T, recipe.sampling, preprocess)

    def fill(self, reads: Reads, orders: bool = False) -> None:
        """Nothing is computed before training."""

    def tell(self, other: Source) -> None:
        """Each reads its own videos."""


class FeatureSource:
    """Outputs of a frozen backbone from a cache; `fill` computes those that are lacking.
    Raises `StillmotionError`: augmentation that cached features cannot have.

    `began` is the runtime that a run began with, which it goes on with whatever would be chosen now.

    Training clips have one view, or `cached_views` random ones; validation clips all test views. Processes share the
    work.
    """

    def __init__(
        self,
        recipe: Recipe[Any],
        weights: Weights,
        clips: tuple[Manifest, Manifest],
        caches: Caches,
        accelerator: Accelerator,
        bad: BadVideos,
        began: str | None = None,
    ):
        if recipe.train.mix:
            raise StillmotionError(
                "--mix blends pixels, cached features have none; leave it out, or train the backbone too"
            )
        if recipe.cached_views == 0 and (recipe.augment != "none" or recipe.flip):
            raise StillmotionError("augmentation with a frozen backbone needs cached views; pass --cached-views 4, say")
        preprocess = recipe.preprocess(weights.backbone.pixels)
        self.weights, self.accelerator, self.bad = weights, accelerator, bad
        self.workers = data_workers(recipe.train.workers, accelerator.device.type)
        self.augment = Augment(recipe.augment, preprocess, recipe.flip)
        spec = FeatureSpec(
            backbone=weights.fingerprint(),
            num_frames=recipe.method.num_frames,
            preprocess=preprocess,
            sampling=recipe.sampling,
            tokens=recipe.stored,
        )
        name, every = runtime_of(recipe, accelerator.device.type), [*clips[0].clips, *clips[1].clips]
        if recipe.runtime == "auto" and accelerator.device.type == "cpu":
            name = on_all(accelerator, lambda: began or choose(weights, spec, every, caches.folder))
        self.spec = replace(spec, runtime=name)
        self.store = caches.open(self.spec)
        name, one_view = f"{recipe.augment}-flip{recipe.flip:g}-", replace(recipe.sampling, views=1, crops=1)
        train, val = (m.clips for m in clips)
        say_if_short(train, recipe.method.num_frames)
        train_views = views_of(train, one_view, bad, caches.digests, recipe.cached_views, name)
        val_views = views_of(val, recipe.sampling, bad, caches.digests)
        self.views = [view for clip in (*train_views, *val_views) for view in clip]
        self._train_views = sum(map(len, train_views))
        names = recipe.method.reads().names(weights.backbone.layers)
        seed, summary = recipe.train.seed, recipe.method.summary(weights.backbone)
        self.train = FeatureDataset(self.store, train, train_views, names, True, seed, summary=summary)
        self.val = FeatureDataset(self.store, val, val_views, names, False, summary=summary)

    @property
    def runtime(self) -> str:
        """How the backbone ran for what is in the cache."""
        return self.spec.runtime

    @property
    def kind(self) -> object:
        """Equal for sources that one pass of the backbone fills."""
        return self.spec.key, [view.items() for view in self.views]

    def fill(self, reads: Reads, orders: bool = False) -> None:
        """Say what it will take, then encode those outputs that the cache lacks; `orders`: of validation clips also
        what other orders of their frames need, from a backbone that sees every frame alone.
        Raises `DataError`: too many videos that cannot be read; `StillmotionError`: outputs that are not finite, or
        that float16 cannot hold; `DiskError`: not enough room.
        """
        backbone, device = self.weights.backbone, self.accelerator.device
        val = reads | COMPUTED if orders and backbone.frames_alone else reads
        more = val.names(backbone.layers) != reads.names(backbone.layers)
        n = self._train_views if more else len(self.views)
        for views, wanted in ((self.views[:n], reads), (self.views[n:], val)):
            if views:
                self._encode(views, Encoder(self.weights, self.spec, wanted, device))

    def tell(self, other: Source) -> None:
        """Tell another of the same kind which videos could not be read, and why.
        Raises `DataError`: they are too many for it.
        """
        if isinstance(other, FeatureSource):
            for video in self.bad.found.values():
                other.bad.add(video)

    def _encode(self, views: Sequence[View], encoder: Encoder) -> None:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        say(str(plan(views, encoder, self.store, processes)))
        encode(views[rank::processes], encoder, self.store, self.bad, self.augment, self.workers)
        self.accelerator.wait_for_everyone()
        self.store.refresh()


def fill_together(sources: Sequence[tuple[Source, Reads, bool]]) -> None:
    """Fill what several sources read, in one pass of the backbone for all that run it over the same views alike.

    Each with what its model reads, and whether its validation clips are to be read in other orders of their frames.
    """
    kinds = [source.kind for source, *_ in sources]
    for i, (source, *_) in enumerate(sources):
        if kinds.index(kinds[i]) == i:
            alike = [one for one, kind in zip(sources, kinds) if kind == kinds[i]]
            source.fill(reduce(or_, (reads for _, reads, _ in alike)), any(orders for *_, orders in alike))
            for other, *_ in alike[1:]:
                source.tell(other)
