"""`stillmotion.datasets.prepare`: from a folder of videos and its annotation files to one manifest."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.data.entries import Entry, Header, Listing, check_form, inside, is_listing, read_listing
from stillmotion.data.loader import batches
from stillmotion.data.manifest import Clip, Manifest, clean_name, group_key, read_label_map, read_manifest
from stillmotion.data.video import announced
from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, bare
from stillmotion.datasets.catalog import find
from stillmotion.datasets.folder import FOLDER
from stillmotion.datasets.lists import labeled, read_list, split_lists
from stillmotion.errors import DataError, VideoError
from stillmotion.files import atomic_write
from stillmotion.progress import progress_bar

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Prepared:
    """A data set as it lies on this disk: its manifest, what annotation files name and is not there, files that are
    there and cannot be opened with why (they stay in the manifest), and what to fetch.
    """

    listing: Listing
    missing: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    unlabeled: int
    get: str

    def write(self, path: PathLike) -> list[Path]:
        """Write the manifest, and beside it label maps (raw, and as prompts) and the list of what is missing.
        Raises `StillmotionError`: no manifest can have that name; `DiskError`: no room, or no right to write.
        """
        path = Path(path)
        check_form(path)
        header = self.listing.header
        texts = {
            "labels.csv": _label_map(header.classes),
            "prompts.csv": _label_map(header.prompts),
            "missing.txt": "".join(f"{name}\n" for name in self.missing),
            "unreadable.txt": "".join(f"{name}\t{why}\n" for name, why in self.unreadable),
        }
        written = [path]
        self.listing.write(path)
        for end, text in texts.items():
            beside = path.with_name(f"{path.stem}.{end}")
            if text:
                with atomic_write(beside) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                written.append(beside)
            elif end in ("missing.txt", "unreadable.txt"):
                beside.unlink(missing_ok=True)  # of an earlier try
        return written


def prepare(
    name: str,
    root: PathLike,
    *,
    annotations: PathLike | None = None,
    lists: Sequence[str | Path] = (),
    labels: PathLike | None = None,
    official: int = 1,
    group: str | None = None,
    workers: int = 0,
) -> Prepared:
    """Find the clips of a data set on this disk, with labels, splits, sources and sizes. Nothing is downloaded.
    Raises `DataError`: no such data set, no or wrong annotation files, lists that do not fit, or no clip is there.

    Args:
        name: kinetics400, kinetics600, kinetics700, ssv2, ucf101, hmdb51, diving48, or folder for any other.
        root: the folder that holds the videos, in whatever folders.
        annotations: folder of the official annotation files; None: `root`.
        lists: split lists of other projects, `FILE` or `SPLIT=FILE`, in place of the official split; official splits
            are kept beside them where annotation files are there.
        labels: label map of these lists, lines `id,name`.
        official: number of the official split, for data sets with several.
        group: regular expression whose first group in a path names a clip's source; None: as the data set's names.
        workers: processes that open files.
    """
    data_set = find(name)
    if labels is not None and not lists:
        raise DataError(f"labels {labels} are for lists, which are not given; pass --lists, or leave --labels out")
    tree = Tree.of(Path(root), None if annotations is None else Path(annotations))
    if lists:
        named = _from_lists(data_set, tree, lists, labels, str(official), annotations is not None)
    else:
        named = data_set.read(tree, str(official))
    doubles = [n for n in set(named.prompts) if named.prompts.count(n) > 1]
    prompts = named.classes if doubles else named.prompts
    by_words = {clean_name(c): c for c in named.classes}
    there, missing = [], []
    for clip in named.clips:
        path = tree.find(clip, by_words)
        if path is None:
            missing.append(clip.name)
        else:
            there.append(Entry(path, clip.label, clip.split, clip.splits, clip.source))
    if not there:
        raise DataError(
            f"none of the {len(named.clips)} clips of {data_set.title} lies below {tree.root}; {data_set.get}"
        )
    _once(there)
    entries, unreadable = _measured(_grouped(there, group), tree.root, workers)
    what = f"prepare {data_set.name}" + (f" --official {official}" if any(e.splits for e in entries) else "")
    what += "".join(f" --lists {Path(str(word)).name}" for word in lists)
    header = Header(data_set.name, classes=named.classes, prompts=prompts, made=(what,))
    listing = Listing(header, tuple(sorted(entries, key=lambda e: e.path)), tree.root)
    return Prepared(listing, tuple(missing), unreadable, named.unlabeled, data_set.get)


def open_source(source: PathLike, root: PathLike | None = None) -> Listing:
    """A manifest file, or a folder or list file as a manifest, without sizes; `root` is where relative paths start.
    Raises `DataError`: nothing there, or faults in it.
    """
    source = Path(source)
    if is_listing(source):
        return read_listing(source, None if root is None else Path(root))
    if source.is_dir():
        named = FOLDER.read(Tree.of(source), "1")
        entries = tuple(Entry(clip.name, clip.label, clip.split) for clip in named.clips)
        return Listing(Header(classes=named.classes, prompts=named.prompts), entries, source)
    base = Path(root) if root is not None else source.parent
    manifest = read_manifest(source, root=base, multi_label=False)
    paths = (clip.path.relative_to(base).as_posix() if clip.path.is_relative_to(base) else str(clip.path)
             for clip in manifest.clips)  # fmt: skip
    listed = tuple(Entry(inside(p, str(source)), manifest.classes[c.label]) for p, c in zip(paths, manifest.clips))
    _once(listed)
    prompts = tuple(map(clean_name, manifest.classes))
    return Listing(Header(classes=manifest.classes, prompts=prompts), listed, base)


def _from_lists(
    data_set: DataSet,
    tree: Tree,
    words: Sequence[str | Path],
    labels: PathLike | None,
    official: str,
    annotated: bool,
) -> Annotations:
    lists = [(split, read_list(path, tree)) for split, path in split_lists(words)]
    known = data_set.read(tree, official) if annotated else None
    classes = None if labels is None else read_label_map(Path(labels))
    names, clips = labeled(lists, classes, known.classes if known else (), ", ".join(map(str, words)))
    splits = {clip.stem: clip.splits for clip in known.clips} if known else {}
    found: dict[str, Annotated] = {}
    for clip in clips:
        source = data_set.source(bare(clip.name), clip.label)
        full = replace(clip, splits=splits.get(clip.stem), source=source)
        first = found.setdefault(clip.name, full)
        if first != full:
            raise DataError(
                f"{clip.name} is listed as {first.label!r} in {first.split} and as {clip.label!r} in {clip.split}; "
                "a clip has one label and one split"
            )
    prompts = dict(zip(known.classes, known.prompts)) if known else {}
    keep = data_set.name.startswith(("kinetics", "ssv2"))  # whose names are prompts as they are
    return Annotations(
        names, tuple(prompts.get(n) or (n if keep else clean_name(n)) for n in names), tuple(found.values())
    )


def _once(entries: Sequence[Entry]) -> None:
    """Refuse a file that two clips of the annotations would be."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.path, entry)
        if first is not entry:
            raise DataError(f"{entry.path} stands for two clips of the list; give each clip once, with its folder")


def _grouped(entries: list[Entry], group: str | None) -> list[Entry]:
    if group is None:
        return entries
    clips = tuple(Clip(Path(entry.path), 0) for entry in entries)
    key = group_key(Manifest(clips, ("",)), group)
    return [replace(entry, source=key(clip)) for entry, clip in zip(entries, clips)]


class Sizes:
    """Entries by number with what the headers of their files say, or why they say nothing."""

    def __init__(self, entries: Sequence[Entry], root: Path):
        self.entries, self.root = entries, root

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Entry, str]:
        path = self.root / self.entries[index].path
        try:
            size = path.stat().st_size
            told = announced(path)
        except (VideoError, OSError) as error:
            return self.entries[index], str(error)
        known: dict[str, Any] = {"duration": round(told.seconds, 3), "frames": told.frames, "bytes": size}
        return replace(self.entries[index], width=told.width, height=told.height, **known), ""

    def lost(self, index: int, why: str) -> tuple[Entry, str]:
        """An entry whose file ends the process that opens it, and that."""
        return self.entries[index], f"{self.entries[index].path}: {why}"


def _measured(entries: Sequence[Entry], root: Path, workers: int) -> tuple[list[Entry], tuple[tuple[str, str], ...]]:
    found, unreadable = [], []
    with progress_bar("opening videos", len(entries)) as advance:
        for entry, why in batches(Sizes(entries, root), workers):
            found.append(entry)
            if why:
                unreadable.append((entry.path, why))
            advance()
    return found, tuple(unreadable)


def _label_map(names: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([("id", "name"), *enumerate(names)])
    return buffer.getvalue()
