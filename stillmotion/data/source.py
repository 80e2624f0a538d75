"""From what a user points at to a training and a validation set that do not overlap."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stillmotion.data.entries import Entry, Header, Listing, chosen, chosen_to_score, is_listing, read_listing
from stillmotion.data.manifest import (
    Clip,
    Duplicates,
    Manifest,
    clean_name,
    find_duplicates,
    find_split,
    group_key,
    group_pattern,
    read_label_map,
    read_manifest,
    split,
)
from stillmotion.errors import DataError, check_fields
from stillmotion.files import Digests
from stillmotion.progress import say

Choose: TypeAlias = Callable[[Listing, str | None, Path], tuple[str | None, str | None]]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Labeled videos."""

    data: Path
    """Folder with one folder per class (or with train/ and val/ folders of those), or a list file: lines
    `path label` (`path a|b` where videos have several labels), CSV with columns
    path,label, or JSON lines; or a manifest of `data prepare`."""
    val: Path | None = None
    """Validation videos, in the same forms; None: split off, or the val folder or list beside train."""
    split: str | None = None
    """Of a manifest: the number of an official split (2), or the split to validate on (test, 2:test); None: its own."""
    val_fraction: float = 0.2
    """Part of each class that is split off for validation."""
    group: str | None = None
    """Regular expression whose first group names a clip's source; clips of one source stay on one side of the split."""
    labels: Path | None = None
    """Label map: CSV lines `id,name`, in the order of the classes; None: the names found."""
    root: Path | None = None
    """Folder that relative paths in list files start from; None: the list file's own."""
    clean_names: bool = False
    """Write class names as words in prompts (ApplyEyeMakeup: apply eye makeup)."""
    text_features: Path | None = None
    """A .npy file of class embeddings (classes, width) in the order of the classes, in place of a text tower, for
    methods that compare videos with class names; the text tower does not train then."""
    max_bad: float = 0.01
    """Part of the videos that may be unreadable before the run fails."""
    duplicates: Duplicates = "error"
    """What to do with files of equal content."""

    def __post_init__(self) -> None:
        check_fields(self, "above 0 and below 1", lambda x: 0 < x < 1, "val_fraction")
        check_fields(self, "in [0, 1]", lambda x: 0 <= x <= 1, "max_bad")
        if self.group is not None:
            group_pattern(self.group)

    def names(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Class names as prompts write them."""
        return tuple(clean_name(c) for c in classes) if self.clean_names else classes


def load_data(config: Data, seed: int, digests: Digests | None = None) -> tuple[Manifest, Manifest]:
    """Read, split by a seed and check; returns the training and the validation set, with the same classes.
    Raises `DataError`: nothing there, unknown labels, a class missing from either set, or files given twice.
    """
    known = read_label_map(config.labels) if config.labels else None
    train_source, val_source = config.data, config.val
    if val_source is None and (inside := find_split(config.data)):
        train_source, val_source = inside
    parts = _parts(config, train_source)
    if parts[1] and not parts[0]:
        raise DataError(f"{train_source} has no clips of split 'train'; pass a manifest that has, or --split")
    train = read_manifest(train_source, known, config.root, part=parts[0])
    if len(train.classes) < 2:
        raise DataError(
            f"{train_source} has one class, {train.classes[0]!r}; at least two are needed to learn to tell them apart"
        )
    if val_source is not None or parts[1]:
        source, part = (train_source, parts[1]) if val_source is None else (val_source, _test_part(val_source))
        # Numbers that index classes are those of a label map; no one knows the order of the classes found.
        several = {"multi_label": train.multi_label}
        val = read_manifest(source, train.classes, config.root, numbers=known is not None, part=part, **several)
    else:
        say(_sources(train, config.group))
        train, val = split(train, config.val_fraction, seed, config.group)
    return _without_duplicates(train, val, config.duplicates, digests)


def load_test_data(config: Data, classes: tuple[str, ...] | None) -> Manifest:
    """Read clips to evaluate a model with these classes on (None: those found); a val or test folder is preferred."""
    inside = find_split(config.data)
    source = inside[1] if inside else config.data
    return read_manifest(source, classes, config.root, part=_parts(config, source, chosen_to_score)[1])


def seen_clips(train: Manifest, test: Manifest, digests: Digests | None = None) -> list[tuple[Clip, Clip]]:
    """Pairs of a test clip and a training clip of the same content."""
    trained = {id(clip) for clip in train.clips}
    return [(a, b) for a, b in find_duplicates([test, train], digests) if (id(a) in trained) != (id(b) in trained)]


def as_listing(train: Manifest, val: Manifest) -> Listing | None:
    """Both as one manifest, in splits `train` and `val`; None: videos have several labels, or no common folder."""
    paths = [[Path(os.path.abspath(clip.path)) for clip in part.clips] for part in (train, val)]  # noqa: PTH100
    try:
        root = Path(os.path.commonpath([path.parent for some in paths for path in some]))
    except ValueError:  # of different drives
        return None
    if train.multi_label:
        return None
    entries = [
        Entry(path.relative_to(root).as_posix(), part.classes[clip.label], name)
        for name, part, some in zip(("train", "val"), (train, val), paths)
        for clip, path in zip(part.clips, some)
    ]
    return Listing(Header(classes=train.classes, prompts=train.classes), tuple(entries), root)


def _sources(clips: Manifest, group: str | None) -> str:
    """What stays together when clips are split, for whoever wrote --group."""
    if group is None:
        return "validation clips are split off at random; pass --group if several clips come from one recording"
    key = group_key(clips, group)
    count = len({key(clip) for clip in clips.clips})
    if count == len(clips):
        return (
            f"warning: --group {group} finds a source of its own for each of the {count} clips, such as "
            f"{key(clips.clips[0])!r}, so it keeps nothing together; let its first group match less"
        )
    return (
        f"{len(clips)} clips of {count} sources, such as {key(clips.clips[0])!r}; each stays on one side of the split"
    )


def _test_part(source: Path) -> str | None:
    """The split of a manifest that is there to be tested on; None: every clip."""
    return chosen(read_listing(source), None, source)[1] if is_listing(source) else None


def _parts(config: Data, source: Path, choose: Choose = chosen) -> tuple[str | None, str | None]:
    """Splits of a manifest to train and to validate on: None where it has none, or is a list."""
    if is_listing(source):
        return choose(read_listing(source, config.root), config.split, source)
    if config.split is not None:
        raise DataError(f"--split {config.split} is for manifests of `stillmotion data prepare`, which {source} is not")
    return None, None


def _without_duplicates(
    train: Manifest, val: Manifest, policy: Duplicates, digests: Digests | None
) -> tuple[Manifest, Manifest]:
    if policy == "keep":
        return train, val
    pairs = find_duplicates([val, train], digests)  # of equal files, the validation set keeps its one
    if pairs and policy == "error":
        first, again = pairs[0]
        held = {id(clip) for clip in val.clips}
        where = ["in the validation set" if id(clip) in held else "in the training set" for clip in (first, again)]
        same = f"is {where[0]} and also {where[1]}" if where[0] != where[1] else f"is twice {where[0]}"
        if first.path != again.path:
            same = f"({where[1]}) has the same content as {first.path} ({where[0]})"
        raise DataError(
            f"{again.path} {same} ({len(pairs)} such pair{'s' * (len(pairs) > 1)}); "
            "each video may appear once: remove one, or pass --duplicates drop"
        )
    repeated = {id(again) for _, again in pairs}  # the very one: its first may have the same path and label
    clashes = [(a, b) for a, b in pairs if a.every != b.every]
    if clashes:
        a, b = clashes[0]
        raise DataError(
            f"{b.path} and {a.path} have the same content but the labels {train.classes[b.label]!r} and "
            f"{train.classes[a.label]!r}; give one of them"
        )
    if repeated:
        say(f"dropped {len(repeated)} repeated video{'s' * (len(repeated) > 1)}")
    kept = (m.subset([i for i, c in enumerate(m.clips) if id(c) not in repeated]) for m in (train, val))
    return next(kept), next(kept)
