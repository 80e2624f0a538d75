"""The feature cache on disk: safetensors shards and an index, one folder per way of computing features.

    ROOT/KEY/spec.json               what KEY stands for: backbone, preprocessing, sampling, taps, precision
    ROOT/KEY/index.jsonl             one line per item: which shard holds it
    ROOT/KEY/shard-*.safetensors     tensors named ITEM/frames, ITEM/out0, ITEM/back0, ITEM/ahead0, ...

An item is one view of one file, named by the file's content, so a moved or renamed file is found again and a changed
one is not mistaken for the old. Shards are written whole and then listed: an interrupted run loses at most the shard in
hand, and several processes may add to one cache.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.backbones.clip import VisualFeatures
from stillmotion.backbones.config import CLIPConfig
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import DiskError, StillmotionError
from stillmotion.files import append_line, atomic_write, write_json
from stillmotion.models.affinity import Affinity

SHARD_BYTES = 100_000_000
SHARD_SECONDS = 60.0
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """All that features depend on besides the video; two equal specs share a cache."""

    backbone: str
    """Fingerprint of the image tower's weights."""
    num_frames: int
    preprocess: Preprocess
    sampling: Sampling
    taps: tuple[int, ...]
    """Tapped blocks, counted from the start; none: pooled embeddings only."""
    precision: str = "fp32"
    """Precision of the backbone; features are stored in float16."""
    version: int = VERSION

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name the cache's folder."""
        content = asdict(self)
        for name in ("bgr", "antialias", "short_side"):  # caches older than these fields keep their names
            if content["preprocess"][name] == getattr(Preprocess(), name):
                del content["preprocess"][name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def bytes_per_view(self, clip: CLIPConfig) -> int:
        """Size of one view: 14 MB for four taps of ViT-B/16 at 8 frames, 8 kB for pooled embeddings."""
        T, (gh, gw), D = self.num_frames, clip.vision.grid, clip.vision.width
        P = gh * gw
        tap = T * (1 + P) * D + 2 * (T - 1) * P * P
        return 2 * (T * clip.embed_dim + len(self.taps) * tap)


def open_store(root: Path, spec: FeatureSpec, items: Sequence[str]) -> "FeatureStore":
    """Return the cache of a spec: its own, or one that already holds these items with further taps."""
    own = FeatureStore(root, spec)
    if root.exists() and not root.is_dir():
        raise DiskError(f"the feature cache {root} is a file; pass a folder as --cache")
    if not root.is_dir() or (own.folder.is_dir() and all(item in own for item in items)):
        return own
    for folder in sorted(p for p in root.iterdir() if (p / "spec.json").is_file()):
        taps = tuple(json.loads((folder / "spec.json").read_text(encoding="utf-8"))["taps"])
        wider = FeatureStore(root, replace(spec, taps=taps))
        if wider.folder == folder and set(spec.taps) <= set(taps) and all(item in wider for item in items):
            return wider
    return own


class CachedTap(NamedTuple):
    """A tap read back: the block's output and the affinities that its queries and keys gave."""

    out_BTLD: Tensor
    back_BTPP: Tensor
    ahead_BTPP: Tensor

    def affinity(self) -> Affinity:
        """Attention between neighboring frames, as computed when the cache was written."""
        return Affinity(self.back_BTPP, self.ahead_BTPP)


class FeatureStore:
    """Reads and writes one cache folder."""

    def __init__(self, root: Path, spec: FeatureSpec):
        self.spec, self.folder = spec, root / spec.key
        self._places: dict[str, str] = {}
        self._open: dict[str, Any] = {}
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._pending_since = time.monotonic()
        self.refresh()

    def __contains__(self, item: str) -> bool:
        return item in self._places

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # open files do not travel to data workers

    def refresh(self) -> None:
        """Read the index again, as other processes may have added to it."""
        index = self.folder / "index.jsonl"
        if not index.is_file():
            return
        for line in index.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # a line cut short by a crash: its shard is computed again
            if (self.folder / entry["shard"]).is_file():
                self._places.update(dict.fromkeys(entry["items"], entry["shard"]))

    def add(self, item: str, features: VisualFeatures) -> None:
        """Keep the features of one view (batch axis of one); written to disk in shards, or by `flush`."""
        tensors = {"frames": features.frames_BTE}
        for i, tap in enumerate(features.taps):
            affinity = tap.affinity()
            tensors |= {
                f"out{i}": tap.out_BTLD,
                f"back{i}": affinity.back_BTPP,
                f"ahead{i}": affinity.ahead_BTPP,
            }
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending[item] = {k: v[0].to("cpu", torch.float16).contiguous() for k, v in tensors.items()}
        size = sum(t.nbytes for part in self._pending.values() for t in part.values())
        if size >= SHARD_BYTES or time.monotonic() - self._pending_since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory as one shard and list it.

        Raises:
            DiskError: the disk is full, or the folder cannot be written to.
        """
        if not self._pending:
            return
        if not (self.folder / "spec.json").is_file():
            write_json(self.folder / "spec.json", asdict(self.spec))
        name = f"shard-{uuid.uuid4().hex[:12]}.safetensors"
        with atomic_write(self.folder / name) as temporary:
            tensors = {f"{item}/{k}": t for item, part in self._pending.items() for k, t in part.items()}
            save_file(tensors, temporary)
        # The leading line break ends a line that a crash cut short.
        append_line(self.folder / "index.jsonl", "\n" + json.dumps({"shard": name, "items": list(self._pending)}))
        self._places.update(dict.fromkeys(self._pending, name))
        self._pending = {}

    def read(self, item: str, taps: tuple[int, ...] | None = None) -> VisualFeatures:
        """Read one view, without batch axis, in float16 and straight from the page cache where it is warm.

        Args:
            taps: blocks to read, of those that the cache holds; None: all.

        Raises:
            StillmotionError: the item is not there, or its shard is damaged.
        """
        if item not in self._places:
            raise StillmotionError(f"the feature cache {self.folder} lacks {item}; encode the videos again")
        name = self._places[item]
        try:
            if name not in self._open:
                self._open[name] = safe_open(self.folder / name, framework="pt")
            shard = self._open[name]
            places = [self.spec.taps.index(tap) for tap in (self.spec.taps if taps is None else taps)]
            read = (
                CachedTap(*(shard.get_tensor(f"{item}/{part}{i}") for part in ("out", "back", "ahead"))) for i in places
            )
            return VisualFeatures(shard.get_tensor(f"{item}/frames"), None, tuple(read))
        except Exception as error:  # safetensors' own types, which differ between versions
            raise StillmotionError(
                f"feature shard {self.folder / name} is damaged ({error}); delete it and run again"
            ) from error


def stack(features: list[VisualFeatures]) -> VisualFeatures:
    """Join views into one batch."""
    taps = (CachedTap(*(torch.stack(parts) for parts in zip(*same))) for same in zip(*(f.taps for f in features)))
    return VisualFeatures(torch.stack([f.frames_BTE for f in features]), None, tuple(taps))
