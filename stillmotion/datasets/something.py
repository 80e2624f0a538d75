"""Something-Something v2: labels.json, and JSON lists of clips with a template; answers of the test set in a CSV."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, count_classes, json_of, merge, text_of
from stillmotion.errors import DataError

GET = (
    "fetch Qualcomm's archive of Something-Something v2 (220,847 clips, 19 GB, after you accept its licence), join and "
    "unpack its parts below --root with the labels: NUMBER.webm, labels.json, train.json, validation.json, test.json"
)
TITLE = "Something-Something v2"
_SPLIT = re.compile(r"(?:^|-)(train|validation|val|test)$")


def read(tree: Tree, official: str) -> Annotations:
    """Clips of the JSON lists; of the test set where its answers are there.
    Raises `DataError`: a file is not there, of version 1, or names a template that labels.json does not have.
    """
    files = {path.stem.removeprefix("something-something-v2-"): path for path in tree.texts if path.suffix == ".json"}
    if any("v1" in path.stem and "something" in path.stem for path in tree.texts):
        raise DataError(f"{tree.root} holds annotation files of Something-Something v1, and 2 is read; {GET}")
    if "labels" not in files:
        raise DataError(f"no labels.json below {tree.root}; {GET}")
    numbers = json_of(files["labels"], dict)
    try:
        names = tuple(sorted(numbers, key=lambda name: int(numbers[name])))
    except (ValueError, TypeError) as error:
        raise DataError(f"{files['labels']} does not number its templates; fetch it again") from error
    count_classes(names, 174, TITLE, files["labels"])
    if sorted(int(n) for n in numbers.values()) != list(range(174)):
        raise DataError(f"{files['labels']} does not number its templates 0 to 173; fetch it again")
    lists = {split[1]: path for stem, path in sorted(files.items()) if (split := _SPLIT.search(stem))}
    if "train" not in lists:
        raise DataError(f"no train.json below {tree.root}; {GET}")
    known = {_plain(name): name for name in names}
    answers = {row[0]: row[-1] for path in tree.texts if path.suffix == ".csv" for row in _answers(path)}
    clips = [clip for split, path in lists.items() for clip in _clips(path, split, known, answers)]
    labeled = merge((clip for clip in clips if clip.label), TITLE)
    return Annotations(names, names, labeled, sum(not clip.label for clip in clips))


def _clips(path: Path, split: str, known: dict[str, str], answers: dict[str, str]) -> Iterator[Annotated]:
    for item in json_of(path, list):
        try:
            name = str(item["id"])
            template = item.get("template") or answers.get(name, "")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is no list of objects with 'id' and 'template'; fetch it again") from error
        if template and _plain(template) not in known:
            raise DataError(f"{path}: clip {name} has the unknown label {template[:100]!r}; labels.json must have it")
        label = known[_plain(template)] if template else ""
        yield Annotated(name, label, {"train": "train", "test": "test"}.get(split, "val"))


def _answers(path: Path) -> list[list[str]]:
    """Rows `id;template` of the test set's answers, by whatever mark."""
    if "answer" not in path.stem.lower():
        return []
    lines = text_of(path).splitlines()
    mark = ";" if ";" in "".join(lines[:1]) else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark) if row]
    return [[row[0], mark.join(row[1:])] for row in rows if row[0].isdigit()]


def _plain(template: str) -> str:
    """A template without what differs between the files: brackets, commas and case."""
    return " ".join(re.sub(r"[\[\],]", " ", template).lower().split())


SSV2 = DataSet("ssv2", TITLE, read, GET)
