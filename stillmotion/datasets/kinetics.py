"""Kinetics-400, 600 and 700: CSV files with label, youtube_id, time_start, time_end and split.

A clip's file is called `ID_START_END.mp4` with six digits each (CVDF's copy, and the crawler's), or `ID.mp4`.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path

from stillmotion.data.lists import csv_rows
from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, count_classes, merge
from stillmotion.errors import DataError

COLUMNS = {"youtube_id", "time_start", "time_end"}
SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
SPLITS |= {"holdout": "test", "training": "train", "testing": "test"}
SIZES = {400: "about 240,000 training and 20,000 validation clips, 450 GB as CVDF hosts them",
         600: "about 390,000 training and 30,000 validation clips, 650 GB as CVDF hosts them",
         700: "about 545,000 training and 35,000 validation clips, 850 GB as CVDF hosts them"}  # fmt: skip
_TIMED = re.compile(r"(.{11})_\d{6}_\d{6}$")


def read(classes: int, tree: Tree, official: str) -> Annotations:
    """Clips of the CSV files with Kinetics' columns. Raises `DataError`: none, or those of another Kinetics."""
    title = f"Kinetics-{classes}"
    tables = [(path, rows) for path in tree.texts if path.suffix == ".csv" and (rows := _table(path))]
    if not tables:
        raise DataError(
            f"no CSV with columns label, youtube_id, time_start, time_end lies below {tree.root}; {_get(classes)}"
        )
    found = [(path, row) for path, rows in tables for row in rows]
    names = tuple(sorted({row["label"] for _, row in found if row.get("label")}))
    count_classes(names, classes, title, ", ".join(path.name for path, _ in tables))
    once = Counter(key for key in {(row["youtube_id"], row["time_start"], row["time_end"]) for _, row in found})
    per_video = Counter(video for video, _, _ in once)
    unlabeled = sum(not row.get("label") for _, row in found)
    clips = merge((_clip(path, row, per_video, tree) for path, row in found if row.get("label")), title)
    return Annotations(names, names, clips, unlabeled)


def _clip(path: Path, row: dict[str, str], per_video: Counter[str], tree: Tree) -> Annotated:
    video = row["youtube_id"]
    try:
        name = f"{video}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
    except ValueError as error:
        raise DataError(f"{path}: times of {video} are no numbers of seconds; fetch that file again") from error
    word = row.get("split", "").lower() or path.stem.lower()
    split = next((SPLITS[w] for w in re.split(r"[^a-z]+", word) if w in SPLITS), None)
    if split is None:
        raise DataError(f"{path}: split {word!r} of {video} is unknown; it must be train, val or test")
    # Some copies name a clip by its video alone, which says which clip it is where there is but one.
    if name.lower() not in tree.videos and per_video[video] == 1 and video.lower() in tree.videos:
        name = video
    return Annotated(name, row["label"], split, source=video)


def _table(path: Path) -> list[dict[str, str]]:
    header, *rows = csv_rows(path) or [[]]
    header = [name.strip().lower() for name in header]
    return [dict(zip(header, map(str.strip, row))) for row in rows if row] if set(header) >= COLUMNS else []


def source(name: str, label: str) -> str | None:
    """The YouTube id of a clip: the eleven characters that a video's name has there."""
    found = _TIMED.match(name)
    return found[1] if found else name if len(name) == 11 else None


def _get(classes: int) -> str:
    return (
        f"fetch CVDF's annotations and archives of Kinetics-{classes} (github.com/cvdfoundation/kinetics-dataset; "
        f"{SIZES[classes]}), and unpack them below --root, in any folders"
    )


def _data_set(classes: int) -> DataSet:
    return DataSet(f"kinetics{classes}", f"Kinetics-{classes}", partial(read, classes), _get(classes), source)


KINETICS = tuple(map(_data_set, SIZES))
