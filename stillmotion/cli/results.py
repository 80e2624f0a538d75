"""Files of results: written whole at the end, with what is done so far in JSON lines beside them until then."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from filelock import FileLock

from stillmotion.errors import StillmotionError, missing
from stillmotion.files import append_line, atomic_write, hold, let_go

if TYPE_CHECKING:
    from stillmotion.classifier import Classifier

Row: TypeAlias = dict[str, Any]
"""A video's `path`; its results, or an `error`; and `model`, an `identity`."""
COLUMNS = ("path", "label", "score", "error", "scores", "model")


class Form(NamedTuple):
    """How rows are written to a file and read back."""

    write: Callable[[Path, list[Row]], None]
    read: Callable[[Path], list[Row]]


class Results:
    """The results of many videos in one file, which the same command goes on with.
    Raises `StillmotionError`: the file is not one of these, is damaged, or of another model or other classes; another
    process is writing it; or packages are missing.

    What is done is added to `PATH.partial.jsonl` at once; `finish` writes the file. A video is known by its path.

    Args:
        path: the file; its end says its form.
        forms: by the ends that it may have, `PREDICTIONS` or `EMBEDDINGS`.
        model: `identity` of the model.
        overwrite: throw away what is there.
    """

    def __init__(self, path: Path, forms: Mapping[str, Form], model: str, overwrite: bool = False):
        self.path, self.model, self.form = path, model, form_of(path, forms)
        self.partial = path.with_name(f"{path.name}.partial.jsonl")
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
        hold(self._lock, path, f"another process is writing {path}; wait for it, or choose another --out")
        try:
            if overwrite:
                path.unlink(missing_ok=True)
                self.partial.unlink(missing_ok=True)
            rows = self._read_whole() if path.exists() else []
            self.added = self._read_partial() if self.partial.exists() else []
            self.rows: dict[str, Row] = {row["path"]: row for row in (*rows, *self.added)}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write the file."""
        let_go(self._lock)

    def lacks(self, path: str) -> bool:
        """Whether a video has no result yet; one that could not be read has none."""
        return path not in self.rows or bool(self.rows[path].get("error"))

    def add(self, row: Row) -> None:
        """Keep a result. Raises `DiskError`: no room, or no right to write."""
        row = {**row, "model": self.model}
        append_line(self.partial, json.dumps(row, allow_nan=False))
        self.rows[row["path"]] = row
        self.added.append(row)

    def finish(self, order: Iterable[str]) -> None:
        """Write the file, if there is anything new: the videos of `order` first, those of earlier commands after."""
        if self.added or not self.path.exists():
            order = [path for path in dict.fromkeys(order) if path in self.rows]
            rest = self.rows.keys() - set(order)
            rows = [self.rows[path] for path in (*order, *(p for p in self.rows if p in rest))]
            with atomic_write(self.path) as temporary:
                self.form.write(temporary, rows)
        self.partial.unlink(missing_ok=True)

    def _read_whole(self) -> list[Row]:
        try:
            rows = self.form.read(self.path)
            if not all(isinstance(row["path"], str) and isinstance(row["model"], str) for row in rows):
                raise TypeError("not such rows")
        except StillmotionError:
            raise
        except Exception as error:  # of whatever library, over whatever the file holds
            raise StillmotionError(
                f"{self.path} is no file of such results, or is damaged ({error!r:.100}); choose another --out, "
                "or pass --overwrite"
            ) from error
        return self._own(rows, self.path)

    def _read_partial(self) -> list[Row]:
        """What a stopped command left; a last line without its end was not done."""
        content = self.partial.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.partial.open("r+b") as file:
                file.truncate(len(whole))
        rows = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                rows.append(json.loads(line))
                if not (isinstance(rows[-1]["path"], str) and isinstance(rows[-1]["model"], str)):
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise StillmotionError(
                    f"{self.partial}:{number} is damaged; remove that line, or pass --overwrite to start over"
                ) from error
        return self._own(rows, self.partial)

    def _own(self, rows: list[Row], file: Path) -> list[Row]:
        if any(row["model"] != self.model for row in rows):
            raise StillmotionError(
                f"{file} holds results of another model, or for other classes; choose another --out, or pass "
                "--overwrite"
            )
        return rows


def form_of(path: Path, forms: Mapping[str, Form], paths: Sequence[str] = ()) -> Form:
    """The form that a file's end says.
    Raises `StillmotionError`: none of these, packages are missing, or one of the videos' `paths` cannot be in it.
    """
    if path.suffix not in forms:
        raise StillmotionError(f"--out {path}: results are written to files that end in {' or '.join(forms)}")
    if path.is_dir():
        raise StillmotionError(f"--out {path} is a folder; name a file in it")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise missing("parquet", f"--out {path}") from error
        for video in paths:
            if any("\ud800" <= c <= "\udfff" for c in video):
                others = " or ".join(end for end in forms if end != ".parquet")
                raise StillmotionError(f"{video} is no text, which .parquet holds alone; rename it, or write {others}")
    return forms[path.suffix]


def identity(classifier: "Classifier", classes: bool, *more: object) -> str:
    """Sixteen hexadecimal digits that stand for all that decides results: tensors, how videos are read, classes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    reading = [
        classifier.num_frames,
        asdict(classifier.sampling),
        asdict(classifier.preprocess),
        type(classifier.model),
    ]
    digest.update(repr([reading, classifier.classes if classes else None, *more]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | ({"scores": json.dumps(row["scores"])} if "scores" in row else {}) for row in rows)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field be as long as the scores of many classes; the limit is one for the process."""
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file, _long_fields():
        reader = csv.DictReader(file, strict=True)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError("other columns")
        rows = []
        for cells in reader:
            row: Row = {name: cells[name] for name in COLUMNS if cells[name]}
            if "error" not in row:
                row |= {"score": float(row["score"]), "scores": dict(json.loads(row["scores"]))}
            rows.append(row)
    return rows


def _write_jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")


def _read_jsonl(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_parquet(embeddings: bool, path: Path, rows: list[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"path": pa.string()}
    if embeddings:
        kinds |= {"embedding": pa.list_(pa.float32())}
    else:
        kinds |= {"label": pa.string(), "score": pa.float64(), "scores": pa.map_(pa.string(), pa.float64())}
    columns: dict[str, Any] = {}
    for name, kind in (kinds | {"error": pa.string(), "model": pa.string()}).items():
        values = [row.get(name) for row in rows]
        columns[name] = pa.array([list(v.items()) if isinstance(v, dict) else v for v in values], kind)
    parquet.write_table(pa.table(columns), path)


def _read_parquet(path: Path) -> list[Row]:
    from pyarrow import parquet

    rows: list[Row] = parquet.read_table(path).to_pylist()
    for row in rows:
        if row.get("scores") is not None:
            row["scores"] = dict(row["scores"])
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _write_npz(path: Path, rows: list[Row]) -> None:
    good, bad = [r for r in rows if "embedding" in r], [r for r in rows if "embedding" not in r]
    np.savez(
        path,
        paths=np.array([r["path"] for r in good], dtype=np.str_),
        embeddings=np.array([r["embedding"] for r in good], dtype=np.float32).reshape(len(good), -1 if good else 0),
        failed=np.array([r["path"] for r in bad], dtype=np.str_),
        errors=np.array([r["error"] for r in bad], dtype=np.str_),
        model=np.array(rows[0]["model"] if rows else "", dtype=np.str_),
    )


def _read_npz(path: Path) -> list[Row]:
    with np.load(path, allow_pickle=False) as file:
        model, pairs = str(file["model"]), zip(file["paths"].tolist(), file["embeddings"].tolist(), strict=True)
        rows: list[Row] = [{"path": p, "embedding": e, "model": model} for p, e in pairs]
        pairs = zip(file["failed"].tolist(), file["errors"].tolist(), strict=True)
        return rows + [{"path": p, "error": e, "model": model} for p, e in pairs]


PREDICTIONS = {
    ".csv": Form(_write_csv, _read_csv),
    ".jsonl": Form(_write_jsonl, _read_jsonl),
    ".parquet": Form(partial(_write_parquet, False), _read_parquet),
}
EMBEDDINGS = {".npz": Form(_write_npz, _read_npz), ".parquet": Form(partial(_write_parquet, True), _read_parquet)}
