"""Weighted averages of several models' class probabilities (EVL, table 9: complementary knowledge)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.data.bad import BadVideo
from stillmotion.errors import DataError
from stillmotion.eval.report import Predictions

FILES = ("predictions.jsonl", "eval_predictions.jsonl", "ensemble_predictions.jsonl")
"""What training, evaluation and an ensemble write into their folders."""

MOST_CHOSEN = 5
"""Models whose weights can be chosen: the grid of six has more than 100,000 points."""


def predictions_file(path: Path) -> Path:
    """The predictions of a run's folder, or the file itself.
    Raises `DataError`: nothing there, or a folder with predictions on several data sets.
    """
    if not path.is_dir():
        return path
    found = [path / name for name in FILES if (path / name).is_file()]
    if not found:
        raise DataError(
            f"folder {path} has no {' or '.join(FILES[:2])}; stillmotion train or stillmotion eval writes them"
        )
    if len(found) > 1:
        names = " and ".join(f.name for f in found)
        raise DataError(f"folder {path} has {names}, which are of different data; name the file")
    return found[0]


def align(members: Sequence[Predictions], others: str = "") -> tuple[list[Predictions], tuple[BadVideo, ...]]:
    """Bring members to the same videos in the same order, the first one's.
    Raises `DataError`: other classes or another order of them, a video that only some members have, labels that
    disagree.

    A video that could not be read for one member is left out of all, and returned; `others` says what else can be done
    about videos that only some have.
    """
    first = members[0]
    bad = {_key(b.path): b for member in members for b in member.bad}
    for other in members[1:]:
        _same_classes(first, other)
        _same_videos(first, other, bad.keys(), others)
        _same_videos(other, first, bad.keys(), others)
    wanted = [_key(path) for path in first.paths if _key(path) not in bad]
    if not wanted:
        raise DataError(f"none of the {len(bad)} videos could be read for every model; mend them, and evaluate again")
    aligned = [_pick(member, wanted) for member in members]
    for other in aligned[1:]:
        labels = zip(other.paths, aligned[0].labels.tolist(), other.labels.tolist())
        differ = [(path, first.classes[a], first.classes[b]) for path, a, b in labels if a != b]
        told = [f"{path} is {a!r} in {first.name} and {b!r} in {other.name}" for path, a, b in differ]
        _refuse(told, "evaluate both on the same labels")
    return aligned, tuple(bad.values())


def common(members: Sequence[Predictions]) -> list[Predictions]:
    """The members with only the videos that all of them scored. Raises `DataError`: there is none."""
    shared = set.intersection(*({_key(path) for path in member.paths} for member in members))
    if not shared:
        raise DataError(f"{members[0].name} and {members[1].name} have no video in common; evaluate both on the same")
    return [_pick(m, [_key(path) for path in m.paths if _key(path) in shared]) for m in members]


def _refuse(found: Sequence[str], mend: str) -> None:
    """Say the first of what was found, and how many there are."""
    if found:
        raise DataError(f"{found[0]} ({len(found)} such); {mend}")


def _same_classes(a: Predictions, b: Predictions) -> None:
    if a.classes == b.classes:
        return
    only = [(name, *((a, b) if name in a.classes else (b, a))) for name in sorted(set(a.classes) ^ set(b.classes))]
    told = [f"class {name!r} is in {has.name} and not in {lacks.name}" for name, has, lacks in only]
    _refuse(told, "evaluate both on the same classes")
    i = next(i for i, (x, y) in enumerate(zip(a.classes, b.classes)) if x != y)
    raise DataError(
        f"class {i} is {a.classes[i]!r} in {a.name} and {b.classes[i]!r} in {b.name}; evaluate both with the same "
        "order of classes (--labels)"
    )


def _same_videos(a: Predictions, b: Predictions, bad: Any, others: str) -> None:
    have = {_key(path) for path in b.paths} | set(bad)
    lacking = [path for path in a.paths if _key(path) not in have]
    told = [f"{path} is scored in {a.name} and missing from {b.name}" for path in lacking]
    _refuse(told, f"evaluate both on the same --data{others}")


def _pick(member: Predictions, keys: Sequence[str]) -> Predictions:
    place = {_key(path): i for i, path in enumerate(member.paths)}
    order = [place[key] for key in keys]
    return replace(
        member,
        paths=tuple(member.paths[i] for i in order),
        indices=member.indices[order],
        labels=member.labels[order],
        probabilities=member.probabilities[order],
        bad=(),
    )


def _key(path: str) -> str:
    """A path as the members compare it: absolute, so that `videos/a.mp4` is the same from where it was written."""
    return str(Path(path).absolute())


def check_separate(scored: Sequence[Predictions], validation: Sequence[Predictions]) -> None:
    """Refuse weights chosen on what is scored.
    Raises `DataError`: a validation file is a scored one, a video is in both (links followed), or the classes differ.
    """
    videos = {Path(path).resolve() for member in scored for path in member.paths}
    files = {Path(member.name).resolve() for member in scored}
    for member in validation:
        if Path(member.name).resolve() in files:
            raise DataError(f"{member.name} is scored itself; choose weights on other videos, or pass --weights")
        both = [path for path in member.paths if Path(path).resolve() in videos]
        told = [f"{path} is in {member.name} and among the scored videos" for path in both]
        _refuse(told, "choose weights on other videos, or pass --weights")
        _same_classes(scored[0], member)


def normalize(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Weights that sum to one. Raises `DataError`: not one a member, a negative or infinite one, or only zeros."""
    if len(weights) != count:
        raise DataError(f"{len(weights)} weights for {count} models; give one for each")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise DataError(f"weights are {' '.join(f'{w:g}' for w in weights)}; they must be at least 0, and one above 0")
    return tuple(w / sum(weights) for w in weights)


def average(members: Sequence[Predictions], weights: Sequence[float]) -> Tensor:
    """Weighted average of aligned members' probabilities, (N, K)."""
    return torch.stack([w * m.probabilities for m, w in zip(members, weights)]).sum(dim=0)


def grid(count: int) -> Iterator[tuple[int, ...]]:
    """All ways to share out parts among `count` members: at least 20 parts, and as many that equal shares are one."""
    parts = count * math.ceil(20 / count)
    for bars in combinations(range(parts + count - 1), count - 1):
        edges = (-1, *bars, parts + count - 1)
        yield tuple(b - a - 1 for a, b in pairwise(edges))


def choose(members: Sequence[Predictions]) -> tuple[tuple[float, ...], float]:
    """The weights on a simplex grid that get the most of aligned members' videos right, and that part, in [0, 1].
    Raises `DataError`: more members than a grid can be searched for.

    Of equally good ones, those nearest to equal weights; of these, the ones that give more to the earlier members.
    """
    count = len(members)
    if count > MOST_CHOSEN:
        raise DataError(f"weights of {count} models cannot be chosen, of {MOST_CHOSEN} at most; pass --weights")
    labels, stacked = members[0].labels, torch.stack([m.probabilities for m in members])
    best: tuple[int, int, tuple[int, ...]] = (-1, 0, ())
    for shares in grid(count):
        total = torch.tensordot(torch.tensor(shares, dtype=torch.float64), stacked, dims=1)
        right = int((total.argmax(dim=1) == labels).sum())
        unequal = sum((count * share - sum(shares)) ** 2 for share in shares)
        best = max(best, (right, -unequal, shares))
    return normalize(best[2], count), best[0] / len(labels)


def mixed(member: Predictions, probabilities: Tensor, bad: Sequence[BadVideo]) -> Predictions:
    """These probabilities (N, K) for a member's videos; `bad` are those left out."""
    N = len(member.paths)
    return replace(
        member, indices=torch.arange(N), probabilities=probabilities, bad=tuple(bad), total=N + len(bad), seconds=0.0
    )
