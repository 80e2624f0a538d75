"""Any folder: a folder for each class, with train, val and test folders of those around them or not."""

from stillmotion.data.entries import TRAIN_NAMES, VAL_NAMES
from stillmotion.data.manifest import clean_name, read_manifest
from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree
from stillmotion.errors import DataError

GET = "put each class's videos in a folder named after it below --root, or below train, val and test folders there"
SPLITS = dict.fromkeys(TRAIN_NAMES, "train") | dict.fromkeys(VAL_NAMES, "val") | {"test": "test"}


def read(tree: Tree, official: str) -> Annotations:
    """The clips that lie there. Raises `DataError`: none, or a class that is in one split alone."""
    inside = sorted(p for p in tree.root.iterdir() if p.is_dir() and p.name.lower() in SPLITS)
    split = any(SPLITS[p.name.lower()] == "train" for p in inside) and len(inside) > 1
    clips = []
    for folder in inside if split else [tree.root]:
        found = read_manifest(folder)
        half = SPLITS[folder.name.lower()] if split else None
        names = (clip.path.relative_to(tree.root).as_posix() for clip in found.clips)
        clips += [Annotated(name, found.classes[clip.label], half) for name, clip in zip(names, found.clips)]
    known = {clip.label for clip in clips if clip.split in ("train", None)}
    if lost := sorted({clip.label for clip in clips} - known):
        raise DataError(f"class {lost[0]!r} has no folder in the training set; add one, or leave the class out")
    classes = tuple(sorted(known))
    return Annotations(classes, tuple(map(clean_name, classes)), tuple(clips))


FOLDER = DataSet("folder", "a folder", read, GET)
