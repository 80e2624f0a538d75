"""Split lists of other projects, recognized by what is in them.

`path label_index` and `path,label` (ViFi-CLIP, X-CLIP, EVL, SlowFast, mmaction2), `path frames label` (mmaction2's and
ActionCLIP's lists of frame folders), and `class/clip` without an ending (A5).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillmotion.data.entries import inside
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.manifest import clean_name
from stillmotion.datasets.base import Annotated, Tree, lines_of, stem_of
from stillmotion.errors import DataError, did_you_mean

SPLITS = ("train", "val", "test")
_MARKS = {"\t": "tab", ",": "comma", " ": "space"}


@dataclass(frozen=True)
class Line:
    """A clip of a list: its path, what the list says of its label (None: its folder does), and its place."""

    path: str
    label: str | None
    where: str


def split_lists(words: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """The split and the file of words `FILE` or `SPLIT=FILE`; a name with train, val or test in it says its split.
    Raises `DataError`: a name that does not.
    """
    found = []
    for word in map(str, words):
        split, equals, name = word.partition("=")
        if not equals or split not in SPLITS:
            name, stem = word, Path(word).stem.lower()
            said = [s for s in SPLITS if s in stem]
            if len(said) != 1:
                raise DataError(f"{word} does not say its split; write train={word}, val={word} or test={word}")
            split = said[0]
        found.append((split, Path(name)))
    return found


def read_list(path: Path, tree: Tree) -> list[Line]:
    """The lines of a list, in the only form that fits all of them.
    Raises `DataError`: no form fits, or two do and the files that are there do not tell; a path outside the root.
    """
    lines = [(where, line) for where, line in lines_of(path) if not line.startswith("#")]
    if lines and re.fullmatch(r"(path|video|filename|file)s?[,\t ].*", lines[0][1], re.IGNORECASE):
        lines = lines[1:]
    if not lines:
        raise DataError(f"{path} lists no videos; pass a list of lines 'path label'")
    forms = _forms([line for _, line in lines])
    if not forms:
        raise DataError(
            f"{lines[0][0]}: no form fits {lines[0][1][:100]!r} and all other lines of the list; a line is `path "
            "label`, `path,label`, `path frames label` or `class/clip`"
        )
    if len(forms) > 1:
        there = {name: sum(_there(path, tree) for path, _ in form) for name, form in forms.items()}
        best = max(there.values())
        forms = {name: forms[name] for name, count in there.items() if count == best and best}
        if len(forms) != 1:
            raise DataError(
                f"{path} can be read as {' and as '.join(f'`{name}`' for name in there)}, and the files below "
                f"{tree.root} do not tell; write each line as path,label"
            )
    (form,) = forms.values()
    root = tree.root.as_posix().rstrip("/") + "/"
    return [Line(inside(p.removeprefix(root), where), label, where) for (where, _), (p, label) in zip(lines, form)]


def _forms(lines: Sequence[str]) -> dict[str, list[tuple[str, str | None]]]:
    """Path and label of each line, for every form that all lines have."""
    if all(_is_video(line) for line in lines):
        return {"path": [(line, None) for line in lines]}
    found: dict[str, list[tuple[str, str | None]]] = {}
    for mark, name in _MARKS.items():
        pairs = [tuple(part.strip() for part in line.rpartition(mark)[::2]) for line in lines]
        if not all(head and tail for head, tail in pairs):
            continue
        numbers = all(tail.isdecimal() for _, tail in pairs)
        if not numbers:
            # A name as the label: it begins behind the ending of a video, for it may hold the mark itself.
            cuts = [_behind_video(line, mark) for line in lines]
            if all(cut is not None for cut in cuts):
                found[f"path label, by {name}"] = [cut for cut in cuts if cut is not None]
            continue
        thirds = [tuple(part.strip() for part in head.rpartition(mark)[::2]) for head, _ in pairs]
        three = all(path and count.isdecimal() for path, count in thirds)
        if not (three and all(_is_video(path) for path, _ in thirds)):
            found[f"path label, by {name}"] = [(head, tail) for head, tail in pairs]
        if three and not all(_is_video(head) for head, _ in pairs):
            found[f"path frames label, by {name}"] = [(path, t) for (path, _), (_, t) in zip(thirds, pairs)]
    if not found and all("/" in line for line in lines):
        found["class/clip"] = [(line, None) for line in lines]
    return found


def _behind_video(line: str, mark: str) -> tuple[str, str] | None:
    """What stands before and behind the first mark that follows the ending of a video."""
    for place in (m.start() for m in re.finditer(re.escape(mark), line)):
        if _is_video(line[:place].strip()):
            return (line[:place].strip(), line[place + 1 :].strip()) if line[place + 1 :].strip() else None
    return None


def _is_video(text: str) -> bool:
    return Path(text).suffix.lower() in VIDEO_SUFFIXES


def _there(path: str, tree: Tree) -> bool:
    return stem_of(path) in tree.videos


def labeled(
    lists: Sequence[tuple[str, list[Line]]], classes: Sequence[str] | None, official: Sequence[str], place: object
) -> tuple[tuple[str, ...], list[Annotated]]:
    """Classes, and the clips with their labels by name.
    Raises `DataError`: an unknown label, numbers that are not 0, 1, 2, ..., or that folders contradict.

    Args:
        lists: the split of each list, and its lines.
        classes: the label map of the lists; None: numbers mean the `official` classes where folders agree, else the
            folders that clips lie in.
    """
    lines = [line for _, found in lists for line in found]
    names = tuple(classes if classes is not None else official or _by_folder(lines, place))
    by_words = {clean_name(name): name for name in names}
    name_of = _namer(names, by_words, given=classes is not None)
    return names, [Annotated(line.path, name_of(line), split) for split, found in lists for line in found]


def _namer(names: tuple[str, ...], by_words: dict[str, str], given: bool) -> Callable[[Line], str]:
    def name_of(line: Line) -> str:
        folder = by_words.get(clean_name(line.path.split("/")[-2])) if "/" in line.path else None
        if line.label is None:
            if folder is None:
                raise DataError(f"{line.where}: no folder of {line.path[:100]!r} is a class")
            return folder
        if line.label.isdecimal() and line.label not in names:
            if len(line.label) > 9 or int(line.label) >= len(names):
                raise DataError(
                    f"{line.where}: label {line.label[:20]} of {len(names)} classes; labels are 0 to {len(names) - 1}"
                )
            name = names[int(line.label)]
            if folder is not None and folder != name:
                order = "the label map" if given else "the official order"
                raise DataError(
                    f"{line.where}: label {line.label} is {name!r} in {order}, and the clip lies in {folder!r}; pass "
                    "the label map of these lists with --labels"
                )
            return name
        label = by_words.get(clean_name(line.label))
        if label is None:
            raise DataError(f"{line.where}: unknown label {line.label[:100]!r}{did_you_mean(line.label, names)}")
        return label

    return name_of


def _by_folder(lines: Sequence[Line], place: object) -> tuple[str, ...]:
    """Classes from what lists say themselves: names, or numbers that go with the clips' folders, one with one."""
    labels = {line.label for line in lines}
    folders = {line.path.split("/")[-2] for line in lines if "/" in line.path}
    if None in labels:
        return tuple(sorted(folders))
    if not all(label and label.isdecimal() for label in labels):
        return tuple(sorted(label for label in labels if label))
    numbers = sorted(int(label[:20]) for label in labels if label)
    if numbers != list(range(len(numbers))):
        lost = next(i for i, n in enumerate(numbers) if n != i)
        raise DataError(
            f"{place}: labels go from {numbers[0]} to {numbers[-1]}, and {lost} is not among them; number the classes "
            "0, 1, 2, ..., or pass their label map with --labels"
        )
    pairs = {(int(line.label), line.path.split("/")[-2]) for line in lines if line.label and "/" in line.path}
    if len(pairs) != len(numbers) or len(folders) != len(numbers):
        raise DataError(f"{place}: labels are numbers, and folders do not name them; pass a label map with --labels")
    return tuple(folder for _, folder in sorted(pairs))
