"""Which set of clips a split is one of, by its name."""

import re

_NUMBER = re.compile(r"(\.(draw)?\d+|[-_ ]\d|(?<=test)\d|(?<=split)\d|(?<=list)\d\d?)$")


def set_of(split: str | None) -> str | None:
    """The set that a split is one of: `ucf101.draw2`, `ucf101.2` and `ucf101_1` are of ucf101, `ucf101_test2` and
    `testlist02` of ucf101_test and testlist. A number that belongs to the name stays: hmdb51, kinetics400.
    """
    return None if split is None else _NUMBER.sub("", split) or split
