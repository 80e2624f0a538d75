"""The feature cache on disk: safetensors shards with an index each, one folder per way of computing features.

    ROOT/KEY/spec.json             what KEY stands for: backbone, frames, preprocessing, sampling, runtime
    ROOT/KEY/shard-*.safetensors   tensors named ITEM/OUTPUT, such as 1f.../test-0of1-0of1/out.11, in float16, or
                                   tokens in int8 and out.11.step beside them
    ROOT/KEY/shard-*.json          which items and outputs the shard holds, and a checksum of every tensor

An item is one view of one file, named by the file's content, so a moved or renamed file is found again and a changed
one is not mistaken for the old. It holds the outputs that were asked for, and beside tokens of the last block the few
numbers of `frames`; a method that reads more adds what is lacking, clip by clip. Shards are written whole, then their
index: an interrupted run loses at most the shard in hand, and several processes may add to one cache, because none of
them writes into a file of another.
"""

import json
import re
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.backbones.runtimes import REVISIONS
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError
from stillmotion.features.memory import Memory
from stillmotion.features.packing import STEP, pack, packs, unpack
from stillmotion.files import atomic_write, short_digest, sweep, write_json
from stillmotion.models.features import Features
from stillmotion.progress import say

Stored = Literal["float16", "int8"]
SHARD_BYTES = 100_000_000
SHARD_SECONDS = 60.0
VERSION = 2
_INDEX = re.compile(r"shard-[0-9a-f]{12}\.json")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """All that features depend on besides the video and its views; two equal specs share a cache."""

    backbone: str
    """Fingerprint of the image tower's weights."""
    num_frames: int
    preprocess: Preprocess
    sampling: Sampling
    """Its scheme and stride; the number of views is part of an item's name, and `average` is of no matter."""
    runtime: str = "fp32"
    """How the backbone ran."""
    tokens: Stored = "float16"
    """How tokens are stored; all else is in float16."""

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name the cache's folder."""
        return short_digest(self.content())

    def content(self) -> dict[str, Any]:
        """What the key stands for, JSON-ready."""
        content = asdict(replace(self, sampling=replace(self.sampling, views=1, crops=1))) | {"version": VERSION}
        del content["sampling"]["average"]
        if self.runtime in REVISIONS:
            content["revision"] = REVISIONS[self.runtime]
        if self.tokens == "float16":
            del content["tokens"]  # as it was before there was a choice
        return content


class Part(NamedTuple):
    """Outputs of an item that lie in one shard, and the checksum of each."""

    shard: str
    outputs: tuple[str, ...]
    sums: tuple[int, ...]


def shards_of(folder: Path) -> list[Path]:
    """The indices of a cache's shards, those whose shard is there."""
    found = sorted(folder.glob("shard-*.json")) if folder.is_dir() else []
    return [path for path in found if _INDEX.fullmatch(path.name) and path.with_suffix(".safetensors").is_file()]


def read_index(path: Path) -> dict[str, Part]:
    """What a shard holds, by item. Raises `StillmotionError`: the index is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shard, outputs = path.with_suffix(".safetensors").name, tuple(str(name) for name in content["outputs"])
        parts = {str(k): Part(shard, outputs, tuple(map(int, v))) for k, v in content["items"].items()}
        if any(len(part.sums) != len(outputs) for part in parts.values()):
            raise ValueError("another number of checksums than of outputs")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StillmotionError(f"{path} is damaged ({error!r:.80})") from error
    return parts


class FeatureStore:
    """Reads and writes one cache folder; what is read stays in `memory` where one is given."""

    def __init__(self, root: Path, spec: FeatureSpec, memory: Memory | None = None):
        if root.exists() and not root.is_dir():
            raise StillmotionError(f"the feature cache {root} is a file; pass a folder as --cache")
        self.spec, self.folder, self.memory = spec, root / spec.key, memory
        self._places: dict[str, list[Part]] = {}
        self._known: set[str] = set()
        self._open: dict[str, Any] = {}
        self._sound: set[tuple[str, str]] = set()
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._pending_bytes, self._pending_since = 0, time.monotonic()
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "memory": None}  # open files do not travel to data workers

    def lacking(self, item: str, outputs: Iterable[str]) -> tuple[str, ...]:
        """Those of some outputs that an item does not have yet."""
        held = {name for part in self._places.get(item, ()) for name in part.outputs}
        return tuple(name for name in outputs if name not in held)

    def holds(self, item: str) -> bool:
        """Whether there is any output of an item."""
        return item in self._places

    def refresh(self) -> None:
        """Read the indices that are new, as other processes may have added to the cache."""
        for path in shards_of(self.folder):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                parts = read_index(path)
            except StillmotionError as error:
                say(f"{error}; what its shard holds is computed again")
                continue
            for item, part in parts.items():
                self._places.setdefault(item, []).append(part)

    def add(self, item: str, features: Mapping[str, Tensor]) -> None:
        """Keep outputs of one view (without batch axis); written to disk in shards, or by `flush`.
        Raises `StillmotionError`: values that are not finite, or that float16 cannot hold.
        """
        if not self._pending:
            self._pending_since = time.monotonic()
        kept = {name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in features.items()}
        for name, tensor in tuple(kept.items()):
            if not bool(torch.isfinite(tensor).all()):
                raise StillmotionError(
                    f"output {name!r} of the backbone has values up to {float(features[name].abs().max()):.3g}; the "
                    "feature cache holds finite float16 numbers, up to 65504; use other weights, or --precision fp32"
                )
            if self._packs(name):
                kept |= pack(name, features[name].cpu())
        self._pending[item] = kept
        self._pending_bytes += sum(tensor.nbytes for tensor in kept.values())
        if self._pending_bytes >= SHARD_BYTES or time.monotonic() - self._pending_since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory, a shard for each set of outputs, and list it.
        Raises `DiskError`: the disk is full, or the folder cannot be written to.
        """
        if self._pending and not (self.folder / "spec.json").is_file():
            write_json(self.folder / "spec.json", self.spec.content())
        while self._pending:
            outputs = tuple(next(iter(self._pending.values())))
            alike = {item: kept for item, kept in self._pending.items() if tuple(kept) == outputs}
            name = f"shard-{uuid.uuid4().hex[:12]}"
            with atomic_write(self.folder / f"{name}.safetensors") as temporary:
                save_file({f"{item}/{k}": t for item, kept in alike.items() for k, t in kept.items()}, temporary)
            sums = {item: [checksum(tensor) for tensor in kept.values()] for item, kept in alike.items()}
            write_json(self.folder / f"{name}.json", {"outputs": outputs, "items": sums})
            self._known.add(f"{name}.json")
            for item in alike:
                part = Part(f"{name}.safetensors", outputs, tuple(sums[item]))
                self._places.setdefault(item, []).append(part)
                del self._pending[item]
        self._pending_bytes = 0

    def sweep(self) -> None:
        """Remove what processes that were killed long ago left: temporary files, and shards without an index."""
        shards = self.folder.glob("shard-*.safetensors")
        sweep([*self.folder.glob(".s*.tmp"), *(p for p in shards if not p.with_suffix(".json").is_file())])

    def read(self, item: str, outputs: Iterable[str]) -> Features:
        """Read outputs of one view, without batch axis, in float16 and straight from the page cache where it is warm.
        Raises `StillmotionError`: an output is not there, or its shard is damaged or cannot be read.

        A tensor's checksum is compared when this process reads it for the first time.
        """
        if self.memory is None:
            return {name: self._output(item, name) for name in outputs}
        found = Features()
        for name in outputs:
            found |= self.memory.get((self.folder, item, name), lambda n=name: {n: self._output(item, n)})  # type: ignore[misc]
        return found

    def _packs(self, name: str) -> bool:
        return self.spec.tokens == "int8" and packs(name)

    def _output(self, item: str, name: str) -> Tensor:
        if self._packs(name):
            return unpack(self._read(item, name), self._read(item, name + STEP))
        return self._read(item, name)

    def _read(self, item: str, name: str) -> Tensor:
        part = next((p for p in self._places.get(item, ()) if name in p.outputs), None)
        if part is None:
            raise StillmotionError(f"the feature cache {self.folder} lacks {name} of {item}; encode the videos again")
        path = self.folder / part.shard
        try:
            if part.shard not in self._open:
                self._open[part.shard] = safe_open(path, framework="pt")
            tensor: Tensor = self._open[part.shard].get_tensor(f"{item}/{name}")
        except SafetensorError as error:
            raise StillmotionError(f"feature shard {path} is damaged ({error}); delete it and run again") from error
        except OSError as error:
            raise StillmotionError(
                f"cannot read feature shard {path} ({error.strerror or error}); mend that, or delete it and run again"
            ) from error
        if (item, name) not in self._sound:
            if checksum(tensor) != part.sums[part.outputs.index(name)]:
                raise StillmotionError(
                    f"feature shard {path} is damaged ({name} has another checksum); delete it and run again"
                )
            self._sound.add((item, name))
        return tensor


def checksum(tensor: Tensor) -> int:
    """CRC-32 of a tensor's bytes."""
    content: Any = tensor.flatten().view(torch.uint8).numpy()  # a buffer, which NumPy's types do not say
    return zlib.crc32(content)
