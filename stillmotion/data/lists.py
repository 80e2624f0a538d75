"""The lines of list files and label maps, of whoever made them."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from stillmotion.data.entries import chosen, is_listing, of_split, read_listing
from stillmotion.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"})
VIDEO_SUFFIXES |= {".ts", ".m2ts", ".mts", ".ogv", ".gif"}


def list_rows(source: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, label and place (`list.txt:3`) of every line of a list file.
    Raises `DataError`: no text file, a line without path or label, or a path that no file can have.
    """
    if source.suffix.lower() == ".csv":
        header, *rows = csv_rows(source) or [[]]
        if not {"path", "label"} <= set(header):
            raise DataError(f"{source} has columns {', '.join(header)[:200] or 'none'}; it needs 'path' and 'label'")
        for i, row in enumerate(rows, 2):
            if row:
                cells = dict(zip(header, row, strict=False))
                yield _row(source, i, cells.get("path"), cells.get("label"))
    elif source.suffix.lower() in (".jsonl", ".ndjson"):
        for i, line in enumerate(_text(source).splitlines(), 1):
            if line.strip():
                try:
                    item = json.loads(line)
                    path, label = item["path"], item["label"]
                    if isinstance(path, (dict, list)) or isinstance(label, (dict, list)):
                        raise TypeError
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise DataError(f"{source}:{i} is not an object with 'path' and 'label'; mend that line") from error
                yield _row(source, i, path, label)
    else:
        for i, line in enumerate(_text(source).splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                path, _, label = line.strip().rpartition(" ") if "\t" not in line else line.strip().rpartition("\t")
                # A video's name at the end is the rest of a path with spaces.
                lacking = not path or label.lower().endswith(tuple(VIDEO_SUFFIXES))
                yield _row(source, i, path or label, "" if lacking else label)


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
    for i, path in enumerate(_paths(source), 1):
        if path is not None and path.strip():
            count += 1
            yield source.parent / _row(source, i, path, "none")[0]
    if not count:
        raise DataError(f"{source} lists no videos; write one path per line")


def _paths(source: Path) -> Iterator[str | None]:
    """What each line says of a path: None for a comment or nothing."""
    if source.suffix.lower() == ".csv":
        header, *rows = csv_rows(source) or [[]]
        if "path" not in header:
            raise DataError(f"{source} has columns {', '.join(header)[:200] or 'none'}; it needs 'path'")
        yield None
        yield from (dict(zip(header, row, strict=False)).get("path") for row in rows)
        return
    json_lines = source.suffix.lower() in (".jsonl", ".ndjson")
    for i, line in enumerate(map(str.strip, _text(source).splitlines()), 1):
        if json_lines and line:
            try:
                path = json.loads(line)["path"]
                if not isinstance(path, str):
                    raise TypeError
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(f"{source}:{i} is not an object with a 'path'; mend that line") from error
            yield path
        elif not line or line.startswith("#"):
            yield None
        else:
            first, _, label = line.rpartition("\t" if "\t" in line else " ")
            # A video's name at the end is the rest of a path with spaces.
            yield line if not first or label.lower().endswith(tuple(VIDEO_SUFFIXES)) else first


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
