"""The lines of list files and label maps, of whoever made them."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillmotion.data.entries import chosen, is_listing, of_split, read_listing
from stillmotion.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"})
VIDEO_SUFFIXES |= {".ts", ".m2ts", ".mts", ".ogv", ".gif"}
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})

WEIGHT_SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".ckpt"})


def refuse_no_list(source: Path) -> None:
    """Refuse what no videos can be listed in. Raises `DataError`: nothing there, a video, or a file of weights."""
    if not source.exists():
        raise DataError(f"no data at {source}; pass a folder with one folder per class, or a list file")
    if source.suffix.lower() in VIDEO_SUFFIXES and source.is_file():
        raise DataError(
            f"{source} is a video; --data takes a folder with one folder per class, or a list file. To classify one "
            f"video: stillmotion predict MODEL {source}"
        )
    if source.suffix.lower() in WEIGHT_SUFFIXES and source.is_file():
        raise DataError(
            f"{source} is a file of weights; --data takes videos: a folder with one folder per class, or a list file"
        )


def list_rows(source: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, label and place (`list.txt:3`) of every line of a list file.
    Raises `DataError`: no text file, a line without path or label, or a path that no file can have.
    """
    for i, (path, label) in _lines(source, "path", "label"):
        yield _row(source, i, path, label)


def list_paths(source: Path, split: str | None = None) -> Iterator[Path]:
    """Path of every line of a list file, with or without labels; relative ones start from the file's folder.

    Of a manifest, `split` (`test`, `2:test`) chooses a part.
    Raises `DataError`: no text file, no paths, or a path that no file can have.
    """
    if is_listing(source):
        listing = read_listing(source)
        part = None if split is None else chosen(listing, split, source)[1]
        yield from (listing.root / entry.path for entry in of_split(listing, part))
        return
    count = 0
    for i, (path,) in _lines(source, "path"):
        if path is not None and path.strip():
            count += 1
            yield source.parent / _row(source, i, path, "none")[0]
    if not count:
        raise DataError(f"{source} lists no videos; write one path per line")


def _lines(source: Path, *wanted: str) -> Iterator[tuple[int, list[Any]]]:
    """Number of every line that says something, and what it says of the path, and of the label if that is wanted."""
    alone, needs, kind = len(wanted) == 1, " and ".join(map(repr, wanted)), source.suffix.lower()
    if kind == ".csv":
        header, *rows = csv_rows(source) or [[]]
        if not {*wanted} <= {*header}:
            raise DataError(f"{source} has columns {', '.join(header)[:200] or 'none'}; it needs {needs}")
        for i, row in enumerate(rows, 2):
            if row:
                cells = dict(zip(header, row, strict=False))
                yield i, [cells.get(name) for name in wanted]
        return
    for i, line in enumerate(_text(source).splitlines(), 1):
        if kind in (".jsonl", ".ndjson") and line.strip():
            try:
                item = json.loads(line)
                values = [item[name] for name in wanted]
                if any(isinstance(v, (dict, list)) or (alone and not isinstance(v, str)) for v in values):
                    raise TypeError
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                what = f"a {needs}" if alone else needs
                raise DataError(f"{source}:{i} is not an object with {what}; mend that line") from error
            yield i, values
        elif line.strip() and not line.lstrip().startswith("#"):
            path, _, label = line.strip().rpartition("\t" if "\t" in line else " ")
            # A video's name at the end is the rest of a path with spaces.
            lacking = not path or label.lower().endswith(tuple(VIDEO_SUFFIXES))
            yield i, ([line.strip(), ""] if lacking else [path, label])[: len(wanted)]


def _row(source: Path, number: int, path: object, label: object) -> tuple[Path, str, str]:
    where = f"{source}:{number}"
    if path is None or label is None or not str(path).strip() or not str(label).strip():
        raise DataError(f"{where} has no label; every line needs a path and a label")
    try:
        fit = b"\0" not in os.fsencode(str(path))
    except UnicodeEncodeError:
        fit = False
    if not fit:
        raise DataError(f"{where}: no file can be named {str(path)!r}; mend that line")
    return Path(str(path).strip()), str(label).strip(), where


def parts(label: str, where: str, several: bool) -> list[str]:
    """The labels that a line gives a video: one, or `several` with bars between them, `a|b`.
    Raises `DataError`: nothing stands before, behind or between the bars.
    """
    found = [part.strip() for part in label.split("|")] if several else [label]
    if not all(found):
        raise DataError(f"{where}: label {label[:100]!r} has an empty part; write label|label, one bar between two")
    return found


def csv_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file, an empty line's too. Raises `DataError`: no text file, or a field without end."""
    try:
        return list(csv.reader(_text(path).splitlines()))
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}); mend it") from error


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise OSError("a folder, or a pipe or device that may never end")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); pass a UTF-8 text file") from error
