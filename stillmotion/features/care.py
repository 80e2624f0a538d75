"""Care of the feature cache: what is in it, whether it is sound, and how parts of it come and go."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from stillmotion.errors import StillmotionError, did_you_mean
from stillmotion.features.packing import STEP
from stillmotion.features.store import checksum, read_index, shards_of
from stillmotion.files import atomic_write, raise_if_disk
from stillmotion.progress import progress_bar, say


@dataclass(frozen=True)
class Kept:
    """One way of computing features, and what is kept of it.

    about: backbone, frames and pixels as spec.json says; views: how many views of clips; outputs: their names.
    """

    folder: Path
    about: str
    views: int
    outputs: tuple[str, ...]
    bytes: int


def kept(root: Path) -> list[Kept]:
    """All that a cache folder holds, the largest first; folders that are none of its own are left out."""
    found = []
    for folder in _folders(root):
        views, outputs = set[str](), dict[str, None]()
        for index in shards_of(folder):
            try:
                parts = read_index(index)
            except StillmotionError as error:
                say(f"{error}; what its shard holds is computed again")
                continue
            views |= parts.keys()
            outputs |= dict.fromkeys(n for part in parts.values() for n in part.outputs if not n.endswith(STEP))
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        found.append(Kept(folder, _about(folder), len(views), tuple(outputs), size))
    return sorted(found, key=lambda one: -one.bytes)


def find(root: Path, names: Sequence[str]) -> list[Path]:
    """Folders of a cache by name, or by how it begins; all of them where no names are given.
    Raises `StillmotionError`: there is none of a name, or several.
    """
    there = _folders(root)
    found = [] if names else there
    for name in names:
        alike = [path for path in there if name and path.name.startswith(name)]
        if len(alike) != 1:
            known = did_you_mean(name, [path.name for path in there])
            what = f"{len(alike)} parts whose names begin so; write more of it" if alike else f"no such part{known}"
            raise StillmotionError(f"{name!r}: the feature cache {root} has {what}")
        found += alike
    return list(dict.fromkeys(found))


def verify(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Read every tensor and compare its checksum; yields the index of each shard that is not sound, and why."""
    indices = [index for folder in folders for index in shards_of(folder)]
    with progress_bar("verifying", len(indices)) as advance:
        for index in indices:
            if why := _fault(index):
                yield index, why
            advance()


def remove_shard(index: Path) -> int:
    """Remove a shard; its index goes first, so that nobody looks for the rest. Returns how many bytes are free."""
    return _unlink(index) + _unlink(index.with_suffix(".safetensors"))


def remove(folder: Path) -> int:
    """Remove all that is kept of one way of computing features; what else lies in its folder stays.
    Raises `DiskError`: no right to.

    Returns:
        How many bytes are free.
    """
    freed = sum(remove_shard(index) for index in sorted(folder.glob("shard-*.json")))
    rest = (*folder.glob("shard-*.safetensors"), *folder.glob(".s*.tmp"), folder / "spec.json")
    freed += sum(map(_unlink, rest))
    if not any(folder.iterdir()):
        folder.rmdir()
    return freed


def merge(source: Path, target: Path) -> tuple[int, list[tuple[Path, str]]]:
    """Copy into one cache what another has and it lacks, shard by shard; a stopped merge goes on.
    Raises `DiskError`: no room; `StillmotionError`: `source` is no cache.

    Returns:
        How many shards were copied, and those of the source that are not sound and were left out, with the reason.
    """
    folders = _folders(source)
    if not folders:
        raise StillmotionError(f"{source} holds no features; name the folder that another --cache named")
    new = [i for folder in folders for i in shards_of(folder) if not (target / folder.name / i.name).is_file()]
    copied, bad = 0, []
    with progress_bar("merging", len(new)) as advance:
        for index in new:
            if why := _fault(index):
                bad.append((index, why))
            else:
                for name in ("spec.json", index.with_suffix(".safetensors").name, index.name):  # the index last
                    _copy(index.parent / name, target / index.parent.name / name)
                copied += 1
            advance()
    return copied, bad


def _folders(root: Path) -> list[Path]:
    return [path.parent for path in sorted(root.glob("*/spec.json"))]


def _unlink(path: Path) -> int:
    try:
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
    except OSError as error:
        raise_if_disk(error, path)
        raise
    return size


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _fault(index: Path) -> str:
    """What is wrong with a shard; empty: nothing."""
    try:
        parts = read_index(index)
        with safe_open(index.with_suffix(".safetensors"), framework="pt") as shard:
            for item, part in parts.items():
                for name, expected in zip(part.outputs, part.sums):
                    if checksum(shard.get_tensor(f"{item}/{name}")) != expected:
                        return f"{name} of {item} has another checksum"
    except (StillmotionError, SafetensorError, OSError) as error:
        return str(error)
    return ""


def _about(folder: Path) -> str:
    """A specification in a line."""
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        size = spec["preprocess"]["size"]
        pixels = "x".join(map(str, size)) if isinstance(size, list) else f"{size}x{size}"
        packed = f", tokens in {spec['tokens']}" if "tokens" in spec else ""
        return f"{spec['backbone'][:8]}, {spec['num_frames']} frames of {pixels}, {spec['runtime']}{packed}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"spec.json is damaged ({error!r:.60})"
