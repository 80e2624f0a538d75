"""Manifest files: one line a clip with its label, split, source and sizes; JSON lines or parquet, with a header."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stillmotion.errors import DataError, StillmotionError, did_you_mean, missing
from stillmotion.files import atomic_write
from stillmotion.progress import say

FORMAT = "manifest/1"
SUFFIXES = (".jsonl", ".parquet")
TRAIN_NAMES, VAL_NAMES = ("train", "training"), ("val", "test", "valid", "validation")
_LINE = re.compile(r'\s*\{\s*"stillmotion"\s*:')


@dataclass(frozen=True)
class Entry:
    """One clip: `path` with forward slashes from the manifest's root, `label` as the data set writes it.

    split: train, val, test, or None for a clip of none; splits: the same in each of several official splits; source:
    what it was cut from (YouTube id, group, film, actor); duration in seconds, frames, width and height in pixels as
    stored, bytes: None where nobody looked.
    """

    path: str
    label: str
    split: str | None = None
    splits: dict[str, str] | None = None
    source: str | None = None
    duration: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Header:
    """What holds for a whole manifest: the data set's name, the folder that paths start from (relative to the
    manifest), class names in order and as prompts write them, and how it was made, step by step.
    """

    dataset: str = "folder"
    root: str = "."
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A manifest file's content, with the place it was read from (None: made here) and the root as a path."""

    header: Header
    entries: tuple[Entry, ...]
    root: Path = field(default_factory=Path)

    def write(self, path: Path) -> None:
        """Write a manifest, whole or not at all; the end of its name, .jsonl or .parquet, says the form.
        Raises `StillmotionError`: another end, or pyarrow is missing; `DiskError`: no room, or no right.
        """
        check_form(path)
        header = replace(self.header, root=_relative(self.root, path.parent))
        rows = [asdict(entry) for entry in self.entries]
        with atomic_write(path) as temporary:
            if path.suffix == ".parquet":
                _write_parquet(temporary, header, rows)
                return
            first = json.dumps({"stillmotion": FORMAT, **asdict(header)}, ensure_ascii=False)
            lines = (json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in rows)
            temporary.write_text("\n".join([first, *lines]) + "\n", encoding="utf-8")


def check_form(path: Path) -> None:
    """Refuse a name that no manifest can have, or a form whose package is missing: a `StillmotionError`."""
    if path.suffix not in SUFFIXES:
        raise StillmotionError(f"a manifest {path} cannot be written; end its name in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise StillmotionError(f"{path} is a folder; name a file in it")
    if path.suffix == ".parquet":
        _pyarrow(path)


def is_listing(path: Path) -> bool:
    """Whether a file is such a manifest: parquet, or JSON lines whose first has the header."""
    if path.suffix.lower() == ".parquet":
        return path.is_file()
    if path.suffix.lower() not in (".jsonl", ".ndjson") or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            return bool(_LINE.match(file.readline()))
    except (OSError, ValueError):
        return False  # whoever reads it as a list says why it cannot be read


def read_listing(path: Path, root: Path | None = None) -> Listing:
    """Read a manifest file; `root` replaces the folder that it names.
    Raises `DataError`: damage, with the line, a label that its header does not have, or a path that leaves the root.
    """
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_lines(path)
    where, first = rows[0]
    if first.get("stillmotion") != FORMAT:
        raise DataError(f"{path} is a manifest of form {first.get('stillmotion')!r}; this version reads {FORMAT}")
    header = _build(Header, {k: v for k, v in first.items() if k != "stillmotion"}, where)
    entries = tuple(_build(Entry, row, where) for where, row in rows[1:])
    known = set(header.classes)
    for (where, _), entry in zip(rows[1:], entries):
        if entry.label not in known:
            raise DataError(f"{where}: unknown label {entry.label[:100]!r}{did_you_mean(entry.label, known)}")
        inside(entry.path, where)
    return Listing(header, entries, root if root is not None else path.parent / header.root)


def inside(path: str, where: str) -> str:
    """A path of a list, with forward slashes. Raises `DataError`: it leaves the root, or no file can have it."""
    plain = path.replace("\\", "/")
    parts = plain.split("/")
    if ".." in parts or plain.startswith("/") or re.match(r"[A-Za-z]:", plain):
        raise DataError(f"{where}: {path[:200]!r} points outside the root; paths start from --root and stay below it")
    if not plain.strip() or "\0" in plain:
        raise DataError(f"{where}: no file can be named {path!r}; mend that line")
    return "/".join(p for p in parts if p not in ("", "."))


def chosen(listing: Listing, name: str | None, source: Path) -> tuple[str | None, str | None]:
    """Names of the training and the validation split that `--split` means; (None, None) where clips have no split.
    Raises `DataError`: there is no such split.

    `name` is None for the manifest's own split, the number of an official one (`2`), or `train`, `test`, `2:test` for
    a split that takes the place of the validation one.
    """
    column, _, wanted = (name or "").rpartition(":")
    numbers = sorted({n for entry in listing.entries for n in entry.splits or ()})
    if not column and wanted in numbers:
        column, wanted = wanted, ""
    found = {split for entry in listing.entries if (split := split_of(entry, column))}
    if (column and column not in numbers) or (wanted and wanted not in found):
        choices = [*sorted(found), *numbers]
        raise DataError(f"{source} has no split {name!r}{did_you_mean(name or '', choices)}")
    if not found:
        return None, None
    prefix = f"{column}:" if column else ""
    train = next((n for n in TRAIN_NAMES if n in found), None)
    val = wanted or next((n for n in VAL_NAMES if n in found), None)
    return prefix + train if train else None, prefix + val if val else None


def chosen_to_score(listing: Listing, name: str | None, source: Path) -> tuple[str | None, str | None]:
    """The same as `chosen`, whose second split is to be scored; where there are two for that it is said which it is."""
    train, found = chosen(listing, name, source)
    others = [n for n in VAL_NAMES if n != found and any(entry.split == n for entry in listing.entries)]
    if name is None and found is not None and others:
        say(f"scoring split {found!r} of {source}, which also has {others[0]!r}; pass --split {others[0]} for that")
    return train, found


def split_of(entry: Entry, column: str = "") -> str | None:
    """A clip's split: its own, or the one in an official split with this number."""
    return (entry.splits or {}).get(column) if column else entry.split


def of_split(listing: Listing, name: str | None) -> tuple[Entry, ...]:
    """The clips of one split, named `train` or `2:train`; None: all."""
    if name is None:
        return listing.entries
    column, _, wanted = name.rpartition(":")
    return tuple(entry for entry in listing.entries if split_of(entry, column) == wanted)


def _build(kind: Callable[..., Any], row: dict[str, Any], where: str) -> Any:
    """A dataclass from a row of foreign values, checked."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in names}
    try:
        made = kind(**values)
    except TypeError as error:
        raise DataError(f"{where} lacks a path or a label; mend that line, or prepare the manifest again") from error
    for f in fields(kind):  # type: ignore[arg-type]
        value = getattr(made, f.name)
        if not _fits(f.name, value):
            raise DataError(f"{where}: {f.name} is {str(value)[:80]!r}; mend that line, or prepare the manifest again")
    return made


def _fits(name: str, value: Any) -> bool:
    if name in ("classes", "prompts", "made"):
        return isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    if name in ("path", "label", "dataset", "root"):
        return isinstance(value, str) and bool(value)
    if value is None:
        return True
    if name == "splits":
        return isinstance(value, dict) and all(isinstance(v, str) for v in (*value, *value.values()))
    if name in ("split", "source"):
        return isinstance(value, str)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); pass a manifest, or prepare it again") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number} is no JSON; mend that line, or prepare the manifest again") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number} is no object; mend that line, or prepare the manifest again")
            rows.append((f"{path}:{number}", row))
    return rows


def _relative(root: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(root.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return root.resolve().as_posix()


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing("parquet", str(path)) from error
    return pyarrow


def _write_parquet(path: Path, header: Header, rows: Sequence[dict[str, Any]]) -> None:
    pa = _pyarrow(path)
    whole, text = pa.int64(), pa.string()
    kinds = {"splits": pa.map_(text, text), "duration": pa.float64()}
    kinds |= dict.fromkeys(("frames", "width", "height", "bytes"), whole)
    schema = pa.schema([(f.name, kinds.get(f.name, text)) for f in fields(Entry)])
    content = [row | {"splits": None if row["splits"] is None else list(row["splits"].items())} for row in rows]
    told = json.dumps({"stillmotion": FORMAT, **asdict(header)}, ensure_ascii=False)
    table = pa.Table.from_pylist(content, schema=schema.with_metadata({"stillmotion": told}))
    pa.parquet.write_table(table, path)


def _read_parquet(path: Path) -> list[tuple[str, dict[str, Any]]]:
    pa = _pyarrow(path)
    try:
        table = pa.parquet.read_table(path)
        header = json.loads((table.schema.metadata or {})[b"stillmotion"])
        content = table.to_pylist()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} is no manifest ({error!r:.120}); pass one that `data prepare` wrote") from error
    rows = [(f"{path} row {i}", {k: v for k, v in row.items() if v is not None}) for i, row in enumerate(content, 1)]
    for _, row in rows:
        if "splits" in row:
            row["splits"] = dict(row["splits"])
    return [(str(path), header), *rows]
