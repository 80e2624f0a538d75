"""Diving-48: a vocabulary of 48 dives in four words each, and JSON lists of version 1 or 2."""

import re
from collections.abc import Iterator
from pathlib import Path

from stillmotion.datasets.base import Annotated, Annotations, DataSet, Tree, count_classes, json_of, merge
from stillmotion.errors import DataError

GET = (
    "fetch Diving48_rgb.tar.gz (about 18,000 clips, 10 GB), Diving48_V2_train.json, Diving48_V2_test.json and "
    "Diving48_vocab.json from UCSD's page of RESOUND, and unpack them below --root"
)
_LIST = re.compile(r"Diving48(_V2)?_(train|test)\.json$")
_POSITION = {"FREE": "free position", "PIKE": "pike position", "TUCK": "tuck position", "STR": "straight position"}


def read(tree: Tree, official: str) -> Annotations:
    """Clips of both lists. Raises `DataError`: a file is not there, or lists of both versions are."""
    lists = [(found[1], found[2], path) for path in tree.texts if (found := _LIST.match(path.name))]
    vocabulary = next((path for path in tree.texts if path.name == "Diving48_vocab.json"), None)
    versions = {version for version, _, _ in lists}
    if vocabulary is None or not any(half == "train" for _, half, _ in lists):
        raise DataError(f"no Diving48_vocab.json or Diving48_V2_train.json below {tree.root}; {GET}")
    if len(versions) > 1:
        raise DataError(
            f"{tree.root} holds lists of Diving-48 version 1 and 2, whose labels differ; keep one, or name its folder "
            "with --annotations"
        )
    words = json_of(vocabulary, list)
    if not all(isinstance(w, list) and w and all(isinstance(x, str) for x in w) for w in words):
        raise DataError(f"{vocabulary} is no list of lists of words; fetch it again")
    names = tuple(" ".join(word) for word in words)
    count_classes(sorted(set(names)), 48, "Diving-48", vocabulary)
    clips = merge((clip for _, half, path in lists for clip in _clips(path, half, names)), "Diving-48")
    return Annotations(names, tuple(map(prompt, words)), clips)


def prompt(words: list[str]) -> str:
    """The four words of a dive as a prompt says them: Back 15som 05Twis FREE, back dive, 1.5 somersaults, ..."""
    parts = [f"{words[0].lower()} dive"]
    for word in words[1:]:
        number = re.match(r"(\d)(\d?)(som|Twis)", word)
        if number:
            value = f"{number[1]}.{number[2]}".rstrip(".") if number[2] not in ("", "0") else number[1]
            what = "somersault" if number[3] == "som" else "twist"
            parts.append(f"{value} {what}{'s' * (value != '1')}")
        elif word not in ("NoTwis", "Dive"):
            parts.append(_POSITION.get(word, word.lower()))
    return ", ".join(parts)


def _clips(path: Path, half: str, names: tuple[str, ...]) -> Iterator[Annotated]:
    for item in json_of(path, list):
        try:
            name, label = str(item["vid_name"]), int(item["label"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no list of objects with 'vid_name' and 'label'; fetch it again") from error
        if not 0 <= label < len(names):
            raise DataError(f"{path}: {name} has the unknown label {label}; labels are 0 to {len(names) - 1}")
        yield Annotated(name, names[label], half, source=source(name, ""))


def source(name: str, label: str) -> str | None:
    """The video of the competition that a dive was cut from: ID_NUMBER."""
    return name.rpartition("_")[0] or None


DIVING48 = DataSet("diving48", "Diving-48", read, GET, source)
