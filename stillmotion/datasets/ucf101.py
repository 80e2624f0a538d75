"""UCF-101: classInd.txt, and trainlist0N.txt and testlist0N.txt of three splits; groups g01 to g25 of a class."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from stillmotion.data.manifest import clean_name
from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, count_classes, lines_of
from stillmotion.errors import DataError, did_you_mean

GET = (
    "fetch UCF101.rar (13,320 clips, 6.5 GB) and UCF101TrainTestSplits-RecognitionTask.zip from UCF's page of UCF101, "
    "and unpack both below --root: CLASS/v_CLASS_gNN_cNN.avi, classInd.txt, trainlist01.txt, testlist01.txt, ..."
)
_LIST = re.compile(r"(train|test)list0?(\d+)\.txt$")
_GROUP = re.compile(r"v_(\w+)_(g\d+)_c\d+$", re.IGNORECASE)


def read(tree: Tree, official: str) -> Annotations:
    """Clips of all official splits, of which one is the split. Raises `DataError`: a file is not there, or wrong."""
    index = next((path for path in tree.texts if path.name.lower() == "classind.txt"), None)
    if index is None:
        raise DataError(f"no classInd.txt below {tree.root}; {GET}")
    numbers: dict[str, int] = {}
    for where, line in lines_of(index):
        number, _, name = line.partition(" ")
        if number != str(len(numbers) + 1) or not name.strip():
            raise DataError(
                f"{where} is {line[:80]!r} where '{len(numbers) + 1} NAME' belongs; fetch classInd.txt again"
            )
        numbers[name.strip()] = int(number)
    count_classes(tuple(numbers), 101, "UCF-101", index)
    lists = [(found[1], found[2], path) for path in tree.texts if (found := _LIST.match(path.name.lower()))]
    for half in ("train", "test"):
        if not any(kind == half and number == official for kind, number, _ in lists):
            raise DataError(f"no {half}list{int(official):02d}.txt below {tree.root}; {GET}")
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for half, number, path in lists:
        for name in _names(path, numbers):
            if splits[name].setdefault(number, half) != half:
                raise DataError(f"{name} is in the training and the test list of split {number}; fetch the lists again")
    clips = (
        Annotated(name, label := name.split("/")[0], s.get(official), s, source(Path(name).stem, label))
        for name, s in splits.items()
    )
    return Annotations(tuple(numbers), tuple(map(clean_name, numbers)), tuple(clips))


def _names(path: Path, numbers: dict[str, int]) -> Iterator[str]:
    for where, line in lines_of(path):
        name, _, number = line.partition(" ")
        label = name.split("/")[0]
        if label not in numbers:
            raise DataError(f"{where}: unknown label {label[:100]!r}{did_you_mean(label, numbers)}")
        if number.strip() and number.strip() != str(numbers[label]):
            raise DataError(
                f"{where}: {label} is {number.strip()}, and {numbers[label]} in classInd.txt; fetch both again"
            )
        yield name


def source(name: str, label: str) -> str | None:
    """The group of a clip, `CLASS_g08`: clips of one group are of one person and place; each class has its own."""
    found = _GROUP.search(name)
    return f"{label}_{found[2].lower()}" if found else None


UCF101 = DataSet("ucf101", "UCF-101", read, GET, source)
