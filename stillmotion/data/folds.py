"""Folds: every clip is held out once, sources stay whole, classes keep their shares."""

import warnings

from sklearn.model_selection import StratifiedGroupKFold

from stillmotion.data.manifest import Manifest, group_key
from stillmotion.errors import DataError


class TooFew(DataError):
    """There are too few clips of a class to hold some out."""


def folds(manifest: Manifest, count: int, seed: int = 0, group: str | None = None) -> list[tuple[Manifest, Manifest]]:
    """Split into so many folds, each a training and a validation set; clips of one group are in one fold.
    Raises `TooFew`: a class whose clips come from fewer than two groups; `DataError`: one with none left in a fold's
    training set.

    There are fewer folds where a class has fewer groups. `group` as for `manifest.split`.
    """
    key = group_key(manifest, group)
    groups, labels = [key(clip) for clip in manifest.clips], [clip.label for clip in manifest.clips]
    sources = [{g for g, y in zip(groups, labels) if y == label} for label in range(len(manifest.classes))]
    fewest = min(range(len(sources)), key=lambda label: len(sources[label]))
    count = min(count, len(sources[fewest]))
    if count < 2:
        kind = "clip" if group is None else "group of clips"
        raise TooFew(
            f"class {manifest.classes[fewest]!r} has one {kind} for training; at least two are needed to choose a "
            "model on held-out ones: add clips, or leave the class out"
        )
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class with fewer clips than folds: looked at below
        parts = [(manifest.subset(a), manifest.subset(b)) for a, b in splitter.split(labels, labels, groups)]
    for train, _ in parts:
        if 0 in train.counts():
            lacking = manifest.classes[train.counts().index(0)]
            raise DataError(
                f"a fold leaves no clip of class {lacking!r} for training, because its clips come from few groups; use "
                "fewer --folds, or another --group"
            )
    return parts
