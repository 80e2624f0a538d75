"""`stillmotion.datasets.audit`: what is wrong with a data set, and what one has to know of it."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from stillmotion.data.entries import Entry, Listing
from stillmotion.data.manifest import Clip, Manifest, clean_name, find_duplicates
from stillmotion.data.seeds import item_seed
from stillmotion.datasets.base import stem_of
from stillmotion.datasets.building import open_source
from stillmotion.datasets.copies import which_copy
from stillmotion.datasets.findings import HELD_OUT, Against, Audit, Pair
from stillmotion.datasets.looking import Seen, look_at_all, needs_packages
from stillmotion.datasets.nearness import NEAR, near_pairs
from stillmotion.errors import StillmotionError
from stillmotion.files import Digests, write_json

PICTURES = 6
"""Clips of each class on the page."""


def audit(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    against: Sequence[str | os.PathLike[str]] = (),
    near: float = NEAR,
    workers: int = 0,
) -> Audit:
    """Look at every clip of a data set and write `audit.json` and `audit.html` into a folder.
    Raises `DataError`: nothing there, or faults in a list; `StillmotionError`: packages are missing; `DiskError`.

    It can be stopped: the clips it has seen are in `clips.jsonl` there, by size and time of change.

    Args:
        source: a manifest, a folder with a folder per class, or a list file.
        out: the folder for the results.
        root: folder that relative paths start from; None: as the manifest says.
        against: other manifests, to find classes, sources and clips that both have.
        near: part of the bits that hashes of two clips' frames may differ in, on average, for near copies; 0 to 0.25.
        workers: processes that decode.
    """
    if not 0 <= near <= 0.25:
        raise StillmotionError(f"near is {near}; it must be in [0, 0.25], a part of the bits of a hash")
    needs_packages()
    from stillmotion.datasets.audit_page import write_audit_page

    listing, out = open_source(source, root), Path(out)
    others = [(str(path), open_source(path)) for path in against]
    paths = [entry.path for entry in listing.entries]
    seen = look_at_all(listing.root, paths, pictured(listing), out / "clips.jsonl", workers)
    entries = {entry.path: entry for entry in listing.entries}
    found = Audit(
        dataset=listing.header.dataset,
        listing=listing,
        seen=tuple(seen),
        pairs=tuple(_pairs(listing, seen, near, Digests(out))),
        sources=_both_sides(listing.entries),
        official=_official(listing.entries),
        misplaced=tuple(p for p, e in entries.items() if e.split in HELD_OUT and "train" in _folders(p)),
        copy=which_copy(listing, seen),
        against=tuple(_against(listing, name, other) for name, other in others),
    )
    write_json(out / "audit.json", found.to_dict())
    write_audit_page(out / "audit.html", found)
    return found


def pictured(listing: Listing) -> frozenset[str]:
    """Clips whose pictures stand for their class: the same few of each, drawn at random."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for entry in listing.entries:
        by_class[entry.label].append(entry.path)
    drawn = (sorted(paths, key=lambda p: (item_seed("picture", p), p))[:PICTURES] for paths in by_class.values())
    return frozenset(path for paths in drawn for path in paths)


def _pairs(listing: Listing, seen: Sequence[Seen], near: float, digests: Digests) -> Iterable[Pair]:
    by_path = {entry.path: entry for entry in listing.entries}
    files = {listing.root / path: entry for path, entry in by_path.items()}
    whole = Manifest(tuple(Clip(file, 0) for file in files), ("",))
    exact = set()
    for a, b in find_duplicates([whole], digests):
        first, second = files[a.path], files[b.path]
        exact.add(frozenset((first.path, second.path)))
        yield _pair(first, second, 0.0, exact=True)
    for i, j, distance in near_pairs([one.hashes for one in seen], near):
        first, second = by_path[seen[i].path], by_path[seen[j].path]
        # Of three equal files two pairs are exact, and the third one is no news.
        if frozenset((first.path, second.path)) not in exact and not _equal(first, second, listing, digests, distance):
            yield _pair(first, second, distance, exact=False)


def _equal(first: Entry, second: Entry, listing: Listing, digests: Digests, distance: float) -> bool:
    a, b = listing.root / first.path, listing.root / second.path
    return distance == 0 and a.stat().st_size == b.stat().st_size and digests.digest(a) == digests.digest(b)


def _pair(first: Entry, second: Entry, distance: float, exact: bool) -> Pair:
    splits, labels = (first.split, second.split), (first.label, second.label)
    return Pair(first.path, second.path, exact, round(distance, 4), splits, labels)


def _both_sides(entries: Iterable[Entry]) -> dict[str, tuple[str, ...]]:
    sides: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.source is not None and entry.split is not None:
            sides[entry.source].add(entry.split)
    return {s: tuple(sorted(x)) for s, x in sorted(sides.items()) if "train" in x and x & set(HELD_OUT)}


def _official(entries: Iterable[Entry]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for entry in entries:
        if entry.split == "train":
            counts.update(number for number, half in (entry.splits or {}).items() if half in HELD_OUT)
    return dict(sorted(counts.items()))


def _against(listing: Listing, name: str, other: Listing) -> Against:
    here, there = ({clean_name(c): c for c in x.header.classes} for x in (listing, other))
    sources = {e.source for e in listing.entries if e.source} & {e.source for e in other.entries if e.source}
    split = {stem_of(e.path): e for e in other.entries}
    counts: Counter[str] = Counter()
    for entry in listing.entries:
        twin = split.get(stem_of(entry.path))
        # In folders, clip0.mp4 of one class is not clip0.mp4 of another.
        if twin is not None and clean_name(twin.label) == clean_name(entry.label):
            mine = entry.split or "no split"
            counts[f"{mine} here, in {twin.split or 'no split'} there"] += 1
            counts.update(f"{mine} here, in {half} of split {n} there" for n, half in (twin.splits or {}).items())
    return Against(name, tuple(here[k] for k in here if k in there), len(sources), dict(sorted(counts.items())))


def _folders(path: str) -> list[str]:
    parts = (part.lower() for part in path.split("/")[:-1])
    return ["train" for part in parts if part in ("train", "training") or part.startswith(("train_", "videos_train"))]
