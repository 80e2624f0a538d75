"""What a data set is to `data prepare`: annotation files, the clips that they name, and where their videos lie."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.manifest import clean_name
from stillmotion.errors import DataError

TEXTS = frozenset({".csv", ".json", ".txt"})


@dataclass(frozen=True)
class Annotated:
    """A clip as annotation files name it: a path, or its last part without an ending; splits and source as `Entry`."""

    name: str
    label: str
    split: str | None = None
    splits: dict[str, str] | None = None
    source: str | None = None

    @property
    def stem(self) -> str:
        """What its file is called, in lower case and without the ending of a video."""
        return stem_of(self.name)


@dataclass(frozen=True)
class Annotations:
    """All clips that annotation files name, and the classes in their official order, raw and as prompts."""

    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    clips: tuple[Annotated, ...]
    unlabeled: int = 0
    """Clips of test sets whose labels are not published."""


@dataclass(frozen=True)
class Tree:
    """The files below a folder: paths of videos by stem, and text files, which may be annotations."""

    root: Path
    videos: dict[str, list[str]]
    texts: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path, annotations: Path | None = None) -> "Tree":
        """Walk a folder; annotations are looked for there, or in a folder of their own.
        Raises `DataError`: there is no such folder.
        """
        for folder in (root, annotations):
            if folder is not None and not folder.is_dir():
                raise DataError(f"no folder {folder}; name the one that holds the data set")
        videos: dict[str, list[str]] = defaultdict(list)
        texts: list[Path] = []
        for path in walk(root):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                videos[stem_of(path.name)].append(path.relative_to(root).as_posix())
            elif path.suffix.lower() in TEXTS and annotations is None:
                texts.append(path)
        if annotations is not None:
            texts = [path for path in walk(annotations) if path.suffix.lower() in TEXTS]
        return cls(root, dict(videos), tuple(texts))

    def find(self, clip: Annotated, classes: dict[str, str]) -> str | None:
        """The file of a clip, or None: the one whose folders say most of what the annotations say, first by name.

        A file in a folder named after another class (`classes`: names by their words) is another clip of that name.
        """
        if clip.name in self.videos.get(clip.stem, ()):
            return clip.name
        told = {part.lower() for part in clip.name.split("/")[:-1]} | {clean_name(clip.label), clip.split or ""}
        best: tuple[int, str] | None = None
        for path in self.videos.get(clip.stem, ()):
            folders = path.split("/")[:-1]
            if folders and classes.get(clean_name(folders[-1]), clip.label) != clip.label:
                continue
            said = sum(part.lower() in told or clean_name(part) in told for part in folders)
            if best is None or (-said, path) < best:
                best = (-said, path)
        return best[1] if best else None


@dataclass(frozen=True)
class DataSet:
    """A known data set: how its annotation files are read, what a clip was cut from, and how it is had."""

    name: str
    title: str
    read: Callable[[Tree, str], Annotations]
    """From the files and the number of the official split."""
    get: str
    """What to fetch, how large it is, and where the files belong; one line."""
    source: Callable[[str, str], str | None] = field(default=lambda name, label: None)
    """From a clip's name without folders and ending, and its label, to what it was cut from."""


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted; links are followed, each folder once, and what is hidden is left out."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and os.path.realpath(Path(place, f)) not in seen
        )
        yield from (Path(place, file) for file in sorted(files) if not file.startswith("."))


def bare(name: str) -> str:
    """The last part of a path, without the ending of a video."""
    last = name.rpartition("/")[2]
    head, dot, end = last.rpartition(".")
    return head if f"{dot}{end}".lower() in VIDEO_SUFFIXES else last


def stem_of(name: str) -> str:
    """The same in lower case, by which files are found."""
    return bare(name).lower()


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that hold something, each with its place (`list.txt:3`).
    Raises `DataError`: no UTF-8 text.
    """
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def text_of(path: Path) -> str:
    """The content of a text file. Raises `DataError`: no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); name a UTF-8 text file, or fetch it again") from error


def json_of(path: Path, kind: type) -> Any:
    """The content of a JSON file, a list or an object as `kind` says. Raises `DataError`: it is not."""
    try:
        found = json.loads(text_of(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON; fetch it again") from error
    if not isinstance(found, kind):
        raise DataError(f"{path} holds no {'list' if kind is list else 'object'}; fetch it again")
    return found


def count_classes(names: Sequence[str], expected: int, title: str, place: object) -> None:
    """Refuse annotation files of another version, which name another number of classes."""
    if len(names) != expected:
        raise DataError(
            f"{place} names {len(names)} classes, and {title} has {expected}; these are annotation files of another "
            "version: fetch the right ones, or name the folder that holds them with --annotations"
        )


def merge(clips: Iterator[Annotated], title: str) -> tuple[Annotated, ...]:
    """Each clip once. Raises `DataError`: one that is given twice, with different labels or splits."""
    found: dict[str, Annotated] = {}
    for clip in clips:
        first = found.setdefault(f"{clip.label}/{clip.stem}" if "/" in clip.name else clip.stem, clip)
        if first != clip:
            raise DataError(
                f"{title} names {clip.name} as {first.label!r} in {first.split} and as {clip.label!r} in {clip.split}; "
                "annotation files of two versions are mixed: keep one"
            )
    return tuple(found.values())
