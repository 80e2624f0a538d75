"""Videos that a few words stand for: files, folders, globs and lists."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from stillmotion.data.lists import LIST_SUFFIXES, VIDEO_SUFFIXES, list_paths
from stillmotion.errors import DataError


def find_videos(words: Sequence[str | os.PathLike[str]], split: str | None = None) -> list[str]:
    """Paths of the videos that words stand for, in their order, sorted within a folder or a glob.
    Raises `DataError`: a folder or a glob without videos, or a list that cannot be read.

    A word is a file (which need not be there: whoever reads it says so), a folder, of which all folders are searched,
    a glob (`clips/*.mp4`, `clips/**`), or a list file: lines `path` or `path label`, CSV with a column path, or JSON
    lines with a key path, or a manifest, of which `split` chooses a part. What is hidden is left out, and in
    folders and globs what does not end as a video does.
    """
    return [path for word in words for path in _videos(os.fspath(word), split)]


def _videos(word: str, split: str | None) -> Iterator[str]:
    path = Path(word)
    if path.is_dir():
        found = sorted(
            p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts)
        )
        yield from _some([str(p) for p in found], f"{word} has no videos in it")
    elif path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        yield from map(str, list_paths(path, split))
    elif glob.has_magic(word) and "://" not in word and not path.exists():
        yield from _some(sorted(glob.glob(word, recursive=True)), f"no video matches {word}")  # noqa: PTH207
    else:
        yield word


def _some(paths: list[str], lacking: str) -> list[str]:
    found = [path for path in paths if Path(path).suffix.lower() in VIDEO_SUFFIXES and Path(path).is_file()]
    if not found:
        raise DataError(f"{lacking}; names of videos end in {', '.join(sorted(VIDEO_SUFFIXES))}")
    return found
