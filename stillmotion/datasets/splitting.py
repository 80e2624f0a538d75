"""Seeded splits of a manifest: few-shot subsets, base and novel classes, parts that share no source.

Each is a function of the seed and of the clips' paths and labels, not of their order or of where they lie.
"""

import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from stillmotion.data.entries import Entry, Listing
from stillmotion.data.manifest import Clip, Manifest, clean_name, group_key, hold_out
from stillmotion.data.seeds import item_seed
from stillmotion.datasets.base import Tree, lines_of, stem_of
from stillmotion.datasets.lists import read_list
from stillmotion.errors import DataError, StillmotionError

PARTS = ("train", "val", "test")


def few_shot(listing: Listing, shots: int, *, seed: int = 0, nested: bool = False) -> Listing:
    """Keep so many training clips of each class, drawn by a seed, and all validation and test clips.
    Raises `DataError`: no training split, or a class with fewer training clips; `StillmotionError`: shots below 1.

    With `nested` the clips of fewer shots are among those of more, with the same seed; else each number of shots is a
    draw of its own, as the published lists are (ViFi-CLIP, section 4).
    """
    if shots < 1:
        raise StillmotionError(f"shots is {shots}; it must be at least 1")
    train: dict[str, list[Entry]] = {label: [] for label in listing.header.classes}
    for entry in listing.entries:
        if entry.split == "train":
            train[entry.label].append(entry)
    if not any(train.values()):
        raise DataError("no clip is in split 'train', of which shots are taken; make one: --fractions 0.8 0.1 0.1")
    kept: set[str] = set()
    for label, clips in train.items():
        if len(clips) < shots:
            raise DataError(
                f"class {label!r} has {len(clips)} training clips, fewer than {shots} shots; lower --shots, or leave "
                "the class out"
            )
        drawn = sorted(clips, key=lambda e: (item_seed(seed, "shots", 0 if nested else shots, e.label, e.path), e.path))
        kept |= {e.path for e in drawn[:shots]}
    rest = (e for e in listing.entries if e.path in kept or e.split not in ("train", None))
    how = f"few_shot --shots {shots} --seed {seed}" + " --nested" * nested
    return _made(listing, rest, how)


def base_novel(
    listing: Listing, *, base: Sequence[str | Path] = (), novel: Sequence[str | Path] = ()
) -> tuple[Listing, Listing]:
    """Halve the classes: the more frequent ones in training are base, with all their clips, the others novel, without
    their training clips. Each half has its own classes, in the order that they had.
    Raises `DataError`: fewer than two classes, one in both halves or in none, or one without a clip to test on.

    Of an odd number of classes, base has one more. Between classes of equal count the later one in the order of the
    classes is base, which for HMDB-51's 70 clips of each gives the published halves (ids 25 to 50, and 0 to 24).

    Args:
        base, novel: published lists of the halves, of clips in any form that `prepare` reads, or of class names.
    """
    names = listing.header.classes
    if len(names) < 2:
        raise DataError(f"there is one class, {names[0]!r}; at least two are needed to halve them")
    if bool(base) != bool(novel):
        raise DataError("lists of one half alone were given; pass lists of both, or none")
    if not base and not any(entry.split == "train" for entry in listing.entries):
        raise DataError("no clip is in split 'train', whose counts halve the classes; pass --fractions .8 .1 .1 too")
    if base:
        halves = _listed(listing, base), _listed(listing, novel)
        if both := sorted(halves[0] & halves[1]):
            raise DataError(f"class {both[0]!r} is in the base and in the novel lists; a class is in one half")
        if lost := sorted(set(names) - halves[0] - halves[1]):
            raise DataError(f"class {lost[0]!r} is in no list of either half; add a list that has it")
    else:
        counts = Counter(e.label for e in listing.entries if e.split in ("train", None))
        order = sorted(range(len(names)), key=lambda i: (counts[names[i]], i))
        rare = {names[i] for i in order[: len(names) // 2]}
        halves = set(names) - rare, rare
    splits = {e.split for e in listing.entries}
    trained = "train" in splits and len(splits - {None, "train"}) > 0
    first = _made(_of(listing, halves[0]), (e for e in listing.entries if e.label in halves[0]), "base")
    unseen = (e for e in listing.entries if e.label in halves[1] and not (trained and e.split == "train"))
    second = _made(_of(listing, halves[1]), unseen, "novel")
    wanted = sorted(split for split in splits if split)
    _every_class(first, wanted)
    _every_class(second, [split for split in wanted if not (trained and split == "train")])
    return first, second


def fractions(
    listing: Listing, parts: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 0, group: str | None = None
) -> Listing:
    """Split all clips anew into train, val and test, each class in proportion; clips of one source stay together.
    Raises `DataError`: parts that are no fractions, some sources unknown, or a class that cannot be in every part.

    Groups are held out at random until every class has its part; where these are too coarse for that, folds of
    scikit-learn's `StratifiedGroupKFold` are: as many as still have every class, so that parts may be larger.

    Args:
        parts: of train, val and test, summing to 1; those of val or test may be 0, or left out.
        group: regular expression whose first group in a path names a clip's source; None: the manifest's sources, and
            where no clip has one, each clip alone.
    """
    shares = [*parts, 0.0, 0.0][:3]
    if len(parts) > 3 or not all(0 <= p <= 1 for p in shares) or abs(sum(shares) - 1) > 1e-6 or not 0 < shares[0] < 1:
        raise DataError(
            f"fractions {' '.join(f'{p:g}' for p in parts)} do not split; pass three that sum to 1: .8 .1 .1"
        )
    entries = sorted(listing.entries, key=lambda e: e.path)
    place = {name: i for i, name in enumerate(listing.header.classes)}
    whole = Manifest(tuple(Clip(Path(e.path), place[e.label]) for e in entries), listing.header.classes)
    key = _key(entries, whole, group)
    rest, chosen = whole, dict.fromkeys((c.path.as_posix() for c in whole.clips), "train")
    for name, share in (("test", shares[2]), ("val", shares[1])):
        if share:
            left = len(rest) / len(whole)
            held = _held(rest, key, min(0.5, share / left), item_seed(seed, name), name)
            chosen |= {clip.path.as_posix(): name for clip in rest.clips if key(clip) in held}
            rest = rest.subset([i for i, clip in enumerate(rest.clips) if key(clip) not in held])
    by = "" if group is None else f" --group {shlex.quote(group)}"
    how = f"fractions {' '.join(f'{p:g}' for p in shares)} --seed {seed}{by}"
    divided = (replace(e, split=chosen[e.path], splits=None, source=key(c) if group else e.source)
               for e, c in zip(entries, whole.clips))  # fmt: skip
    found = _made(listing, divided, how)
    _every_class(found, [name for name, share in zip(PARTS, shares) if share])
    return found


def _held(rest: Manifest, key: Callable[[Clip], str], share: float, seed: int, name: str) -> set[str]:
    """Sources to hold out of the rest, so that every class is on both sides."""

    def whole(held: set[str]) -> bool:
        sides = [[i for i, c in enumerate(rest.clips) if (key(c) in held) is side] for side in (True, False)]
        return all(0 not in rest.subset(side).counts() for side in sides)

    held = hold_out(rest, key, share, np.random.RandomState(seed))
    if whole(held):
        return held
    labels, groups = [c.label for c in rest.clips], [key(c) for c in rest.clips]
    for count in range(min(round(1 / share), len(set(groups))), 1, -1):
        if max(rest.counts()) < count:
            continue  # which scikit-learn refuses
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a class with fewer clips than folds: looked at here
            folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32).split(labels, labels, groups)
            for _, fold in folds:
                if whole(held := {groups[i] for i in fold}):
                    return held
    sources = [len({g for g, y in zip(groups, labels) if y == k}) for k in range(len(rest.classes))]
    fewest = min(range(len(sources)), key=sources.__getitem__)
    raise DataError(
        f"no {name} set has a clip of every class: those of {rest.classes[fewest]!r} come from {sources[fewest]} "
        f"source{'s' * (sources[fewest] != 1)} that are left; add clips, or leave the class out"
    )


def _key(entries: Sequence[Entry], whole: Manifest, group: str | None) -> Callable[[Clip], str]:
    if group is not None:
        return group_key(whole, group)
    known = {e.path: e.source for e in entries}
    lacking = [path for path, source in known.items() if source is None]
    if len(lacking) == len(known):
        return lambda clip: clip.path.as_posix()
    if lacking:
        raise DataError(f"{lacking[0]} has no source, and others have ({len(lacking)} such clips); pass --group")
    return lambda clip: str(known[clip.path.as_posix()])


def _listed(listing: Listing, lists: Iterable[str | Path]) -> set[str]:
    """Classes of the clips, or names, in lists."""
    words = {clean_name(name): name for name in listing.header.classes}
    videos: dict[str, list[str]] = {}
    label = {entry.path: entry.label for entry in listing.entries}
    for path in label:
        videos.setdefault(stem_of(path), []).append(path)
    tree, found = Tree(listing.root, videos, ()), set()
    for file in map(Path, lists):
        lines = [line for _, line in lines_of(file) if line.lower() != "id,name"]
        names = [clean_name(re.sub(r"^\d+,", "", line)) for line in lines]
        if names and all(name in words for name in names):
            found |= {words[name] for name in names}
            continue
        paths = [line.path for line in read_list(file, tree)]
        clips = [next((p for p in same if p.endswith(path)), same[0])
                 for path in paths if (same := videos.get(stem_of(path)))]  # fmt: skip
        if not clips:
            raise DataError(
                f"none of the {len(paths)} clips of {file} is in the manifest; pass lists of the same data set"
            )
        found |= {label[path] for path in clips}
    return found


def _of(listing: Listing, labels: set[str]) -> Listing:
    """The same with some of the classes, in their order."""
    header = listing.header
    pairs = [(c, p) for c, p in zip(header.classes, header.prompts) if c in labels]
    classes, prompts = (tuple(names) for names in zip(*pairs))
    return replace(listing, header=replace(header, classes=classes, prompts=prompts))


def _made(listing: Listing, entries: Iterable[Entry], how: str) -> Listing:
    ordered = tuple(sorted(entries, key=lambda e: e.path))
    return replace(listing, header=replace(listing.header, made=(*listing.header.made, how)), entries=ordered)


def _every_class(listing: Listing, splits: Sequence[str]) -> None:
    for split in splits:
        found = {e.label for e in listing.entries if e.split == split}
        if lacking := [name for name in listing.header.classes if name not in found]:
            raise DataError(
                f"class {lacking[0]!r} has no clip in split {split!r}; each class needs one in every split: add clips, "
                "or leave the class out"
            )
