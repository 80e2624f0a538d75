"""HMDB-51: a file CLASS_test_splitN.txt for each class and split, whose lines end in 1 (train), 2 (test) or 0."""

import re
from collections import defaultdict

from stillmotion.data.manifest import clean_name
from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, bare, count_classes, lines_of
from stillmotion.errors import DataError

GET = (
    "fetch hmdb51_org.rar (6,766 clips, 2 GB, 51 archives in one) and test_train_splits.rar from Brown's page of "
    "HMDB, and unpack all of them below --root: CLASS/NAME.avi and CLASS_test_split1.txt, ..."
)
_LIST = re.compile(r"(.+)_test_split(\d+)\.txt$")
_HALF = {"0": None, "1": "train", "2": "test"}


def read(tree: Tree, official: str) -> Annotations:
    """Clips of all official splits, of which one is the split. Raises `DataError`: a file is not there, or wrong."""
    lists = [(found[1], found[2], path) for path in tree.texts if (found := _LIST.match(path.name))]
    names = tuple(sorted({label for label, number, _ in lists if number == official}))
    if not names:
        raise DataError(f"no CLASS_test_split{official}.txt below {tree.root}; {GET}")
    count_classes(names, 51, "HMDB-51", f"split {official}")
    splits: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for label, number, path in lists:
        if label not in names:
            raise DataError(f"{path} is of a class that split {official} does not have; fetch the lists again")
        for where, line in lines_of(path):
            name, _, mark = line.rpartition(" ")
            if mark not in _HALF or not name:
                raise DataError(f"{where} does not end in 0, 1 or 2; fetch the lists again")
            halves = splits[label, name.strip()]
            if half := _HALF[mark]:
                halves[number] = half
    clips = (
        Annotated(f"{label}/{name}", label, s.get(official), s or None, source(bare(name), label))
        for (label, name), s in splits.items()
    )
    return Annotations(names, tuple(map(clean_name, names)), tuple(clips))


def source(name: str, label: str) -> str | None:
    """The film or video of a clip, which its name begins with: SOURCE_CLASS_..."""
    head, mark, _ = name.partition(f"_{label}_")
    return head if mark and head else None


HMDB51 = DataSet("hmdb51", "HMDB-51", read, GET, source)
