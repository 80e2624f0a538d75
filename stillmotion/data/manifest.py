"""Which videos there are, and what is seen in them: folders, list files, CSV, JSON lines, label maps, splits."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from stillmotion.data.entries import TRAIN_NAMES, VAL_NAMES, Header, is_listing, of_split, read_listing
from stillmotion.data.lists import LIST_SUFFIXES, VIDEO_SUFFIXES, csv_rows, list_rows, parts, refuse_no_list
from stillmotion.errors import DataError, did_you_mean
from stillmotion.files import Digests

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGITS = 640  # Python refuses to make a number of a few thousand
Duplicates = Literal["error", "drop", "keep"]


@dataclass(frozen=True)
class Clip:
    """One labeled video file; `label` indexes the manifest's classes.

    Where videos have several labels, `labels` are all of this one, in order, and `label` is the first.
    """

    path: Path
    label: int
    labels: tuple[int, ...] = ()

    @property
    def every(self) -> tuple[int, ...]:
        """All its labels, one or several."""
        return self.labels or (self.label,)


@dataclass(frozen=True)
class Manifest:
    """Labeled clips and the raw names of their classes, in the order of the label map (else alphabetical)."""

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, indices: Sequence[int]) -> "Manifest":
        """The clips at these indices, with the same classes."""
        return replace(self, clips=tuple(self.clips[i] for i in indices))

    @property
    def multi_label(self) -> bool:
        """Whether videos have several labels."""
        return any(clip.labels for clip in self.clips)

    def counts(self) -> list[int]:
        """Clips of each class."""
        found = Counter(label for clip in self.clips for label in clip.every)
        return [found[k] for k in range(len(self.classes))]


def read_manifest(
    source: Path,
    classes: Sequence[str] | None = None,
    root: Path | None = None,
    numbers: bool = True,
    part: str | None = None,
    multi_label: bool | None = None,
) -> Manifest:
    """Read a folder with one folder per class, a list file, or a manifest of `data prepare`.
    Raises `DataError`: nothing there, a line without label, an unknown label.

    Args:
        source: a folder; a `.csv` with columns `path` and `label`; a `.jsonl` with those keys; or any other text file
            with a path, white space and a label on each line (paths may hold spaces).
        classes: the known class names in order (from `read_label_map`, or of a trained model); without, the classes
            are the labels found.
        root: folder that relative paths start from; by default the list file's own, or the one a manifest names.
        part: of a manifest, the split to read (`train`, `2:train`); None: every clip.
        multi_label: whether videos of a list file have several labels, `a|b`; None: if any line has.
        numbers: whether labels may also be numbers that index `classes`, where no class is itself named by a number.
    """
    refuse_no_list(source)
    names: Sequence[str] | None = classes
    number: dict[str, int] = {}
    if is_listing(source):
        listing = read_listing(source, root)
        pairs = [(listing.root / e.path, e.label, str(source)) for e in of_split(listing, part)]
        if not pairs:
            raise DataError(f"{source} lists no videos{f' of split {part!r}' if part else ''}; prepare it again")
        names = classes if classes is not None else listing.header.classes
        number = _prompted(listing.header, names)
    elif source.is_dir():
        pairs = list(_folder(source))
        if not pairs:
            raise DataError(f"{source} has no videos in folders; put each class's videos in a folder named after it")
    else:
        base = root or source.parent
        pairs = [(base / path, label, where) for path, label, where in list_rows(source)]
        if not pairs:
            raise DataError(f"{source} lists no videos; write one 'path label' per line")
    several = multi_label
    if several is None:
        several = source.is_file() and any("|" in label and label not in (names or ()) for _, label, _ in pairs)
    if names is None:
        names = sorted({one for _, label, where in pairs for one in parts(label, where, several)}, key=_natural)
    names = tuple(names)
    if unfit := next((name for name in names if _UNFIT.search(name)), None):
        raise DataError(f"{source}: class name {unfit[:100]!r} holds characters that are no text; rename the class")
    number |= {name: i for i, name in enumerate(names)}
    # Where classes are named by numbers, one that is not among them is an unknown class, not a place in the list.
    numbers = numbers and not any(name.isdecimal() for name in names)
    found = [
        (path, sorted({_label(one, number, numbers, where) for one in parts(label, where, several)}))
        for path, label, where in pairs
    ]
    return Manifest(tuple(Clip(path, labels[0], tuple(labels) if several else ()) for path, labels in found), names)


def read_label_map(path: Path) -> tuple[str, ...]:
    """Read class names in order: CSV lines `id,name` (a header is skipped), or one name per line.
    Raises `DataError`: no file, no names, ids that are not 0, 1, 2, ..., or a name given twice.
    """
    rows = [row for row in csv_rows(path) if row]
    if rows and len(rows[0]) >= 2 and not rows[0][0].strip().isdigit():
        rows = rows[1:]
    if not rows:
        raise DataError(f"label map {path} is empty; write lines 'id,name'")
    names: dict[str, None] = {}  # in their order
    for i, row in enumerate(rows):
        if len(row) >= 2 and row[0].strip() != str(i):
            raise DataError(f"label map {path}: id {row[0]!r} where {i} belongs; number the classes 0, 1, 2, ...")
        name = ",".join(row[1:] if len(row) >= 2 else row).strip()
        if name in names or not name:
            raise DataError(
                f"label map {path}: class name {name[:100]!r} is empty or given twice; every name must be unique"
            )
        names[name] = None
    return tuple(names)


def clean_name(name: str) -> str:
    """Turn a raw class name into words for a prompt: `ApplyEyeMakeup` and `apply_eye-makeup` to `apply eye makeup`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"[\s_\-]+", " ", spaced).strip().lower()


def find_split(source: Path) -> tuple[Path, Path] | None:
    """Return the (train, val) folders or list files inside a folder that is already split, or None."""
    if not source.is_dir():
        return None
    paths = sorted(source.iterdir(), reverse=True)  # the first of equal names wins, and a folder over every file
    inside = {p.stem.lower(): p for p in paths if p.suffix.lower() in {"", *LIST_SUFFIXES} and p.is_file()}
    inside |= {p.name.lower(): p for p in paths if p.is_dir()}
    train = next((inside[n] for n in TRAIN_NAMES if n in inside), None)
    val = next((inside[n] for n in VAL_NAMES if n in inside), None)
    return (train, val) if train is not None and val is not None else None


def split(manifest: Manifest, fraction: float, seed: int, group: str | None = None) -> tuple[Manifest, Manifest]:
    """Split at random into training and validation, each class in proportion.
    Raises `DataError`: a class that cannot be in both halves.

    Args:
        fraction: part of each class that goes to validation, in (0, 1); at least one clip.
        group: regular expression searched in each path; clips whose first group (or match) is equal stay together.
    """
    if not 0 < fraction < 1:
        raise DataError(f"validation fraction {fraction} is not between 0 and 1; try 0.2")
    rng = np.random.RandomState(seed)
    key = group_key(manifest, group)
    held = hold_out(manifest, key, fraction, rng)
    train = [i for i, clip in enumerate(manifest.clips) if key(clip) not in held]
    val = [i for i, clip in enumerate(manifest.clips) if key(clip) in held]
    halves = manifest.subset(train), manifest.subset(val)
    for half, name in zip(halves, ("training", "validation")):
        lacking = [c for c, n in zip(manifest.classes, half.counts()) if n == 0]
        if lacking:
            total = manifest.counts()[manifest.classes.index(lacking[0])]
            raise DataError(
                f"class {lacking[0]!r} ({total} clip{'s' * (total != 1)}) has none left for {name}; each class needs a "
                "clip in both halves: add clips, leave the class out, or pass your own validation set with --val"
            )
    return halves


def find_duplicates(manifests: Sequence[Manifest], digests: Digests | None = None) -> list[tuple[Clip, Clip]]:
    """Return pairs of clips, across all manifests, whose files have the same content (first seen, repeated).

    Only files of equal size are read, and of those only what `digests` does not remember. Empty and unreadable files
    are left out: they are bad videos, which are counted when they are decoded.
    """
    digests = digests or Digests(None)
    by_size: dict[int, list[Clip]] = defaultdict(list)
    for manifest in manifests:
        for clip in manifest.clips:
            if size := _size(clip.path):
                by_size[size].append(clip)
    pairs = []
    for clips in by_size.values():
        seen: dict[str, Clip] = {}
        for clip in clips if len(clips) > 1 else []:
            try:
                digest = digests.digest(clip.path)
            except OSError:
                continue
            if digest in seen:
                pairs.append((seen[digest], clip))
            seen.setdefault(digest, clip)
    digests.save()
    return pairs


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _folder(source: Path) -> Iterator[tuple[Path, str, str]]:
    for folder in sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith("."):
                yield path, folder.name, str(path)


def _label(label: str, number: dict[str, int], numbers: bool, where: str) -> int:
    if label in number:
        return number[label]
    if numbers and label.isdecimal() and len(label) < _DIGITS and int(label) < len(number):
        return int(label)
    raise DataError(f"{where}: unknown label {label[:100]!r}{did_you_mean(label, number)}")


def group_pattern(group: str) -> re.Pattern[str]:
    """Read what finds a clip's source in its path. Raises `DataError`: no regular expression."""
    try:
        return re.compile(group)
    except re.error as error:
        raise DataError(f"--group {group} is not a regular expression ({error}); mend it") from error


def group_key(manifest: Manifest, group: str | None) -> Callable[[Clip], str]:
    """What names a clip's source: the first group (or match) of a regular expression in its path; None: the clip alone.
    Raises `DataError`: no regular expression, one that does not match every path, or that puts all into one group.
    """
    if group is None:
        return lambda clip: str(clip.path)
    pattern = group_pattern(group)

    def key(clip: Clip) -> str:
        match = pattern.search(clip.path.as_posix())
        if match is None:
            raise DataError(f"--group {group} matches nothing in {clip.path}; it must match every path")
        found: str | None = match.group(1) if pattern.groups else match.group(0)
        if found is None:
            raise DataError(f"--group {group} finds no first group in {clip.path}; it must be in every path")
        return found

    if manifest.clips and len({key(clip) for clip in manifest.clips}) < 2:
        raise DataError(f"--group {group} puts every clip into one group; at least two are needed to split")
    return key


def hold_out(manifest: Manifest, key: Callable[[Clip], str], fraction: float, rng: np.random.RandomState) -> set[str]:
    """Keys of whole groups, chosen at random until every class has its part, a fraction in (0, 1), held out."""
    groups: dict[str, Counter[int]] = defaultdict(Counter)
    for clip in manifest.clips:
        groups[key(clip)].update(clip.every)
    wanted = [max(1, round(n * fraction)) for n in manifest.counts()]
    held: set[str] = set()
    taken: Counter[int] = Counter()
    names = sorted(groups)
    for i in rng.permutation(len(names)):
        counts = groups[names[i]]
        if any(taken[k] < wanted[k] for k in counts) and all(taken[k] + n <= 2 * wanted[k] for k, n in counts.items()):
            held.add(names[i])
            taken += counts
    return held


def _prompted(header: Header, names: Sequence[str]) -> dict[str, int]:
    """Places of classes that are known by their prompts: labels files and models may have names as prompts do."""
    place = {name: i for i, name in enumerate(names)}
    return {raw: place[prompt] for raw, prompt in zip(header.classes, header.prompts) if prompt in place}


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() and len(name) < _DIGITS else (1, 0, name)
